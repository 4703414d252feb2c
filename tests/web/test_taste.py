"""My taste in pages: the proof in words, two lists side by side, the map, and pictures that keep to the policy."""

from __future__ import annotations

import dataclasses
import re

import pytest
from fastapi import FastAPI
from markupsafe import Markup
from starlette.testclient import TestClient

from app.db import Database
from app.lm.engine import Engine
from app.services import catalogue, listens
from app.tables import Job, Listener
from app.web import pictures
from tests.web.test_blends import names
from tests.web.test_many_at_once import give_adapter

HOSTILE = '<script>x</script> "onload=alert(1) \u202e💿'


@pytest.fixture
def played(db: Database, admin: Listener, songs: list[int]) -> None:
    """Ana plays twenty songs, one with a hostile name."""
    with db.write() as session:
        hostile, _ = catalogue.find_or_add(session, HOSTILE, HOSTILE, source="log")
        for song in [*songs[:20], hostile.id]:
            listens.log(session, admin.id, song_id=song, at=1_700_000_000)


def no_style_or_script(text: str) -> None:
    """Nothing that the policy would block."""
    assert not re.search(r"<style|<script(?! type=\"module\" src=)|\sstyle=|\son\w+=[\"']", text)


def test_the_page_says_what_was_found_and_draws_the_arithmetic(
    me: TestClient, db: Database, engine: Engine, admin: Listener, played: None
) -> None:
    give_adapter(db, engine, admin, 1)
    text = me.get("/taste").text
    assert "Found <strong>1 of 1</strong> hidden songs, before <strong>1</strong>" in text
    assert "as many would be\n    found as before; so this may be chance" in text
    for number in (
        "384 × 384 = <strong>147,456</strong>",
        "8 × (384 + 384) = <strong>6,144</strong>",
        "3 × 6,144 = 18,432",
    ):
        assert number in text
    assert text.count("<svg") >= 4 and 'class="picture matrices"' in text
    no_style_or_script(text)
    assert HOSTILE not in text and "&lt;script&gt;x&lt;/script&gt;" in text


@pytest.mark.parametrize("path", ["/taste", "/api/v1/taste"])
def test_who_could_retrain_wakes_the_worker_and_nobody_else_does(
    app: FastAPI, me: TestClient, friend: TestClient, played: None, path: str
) -> None:
    woken: list[None] = []
    app.state.earshot = dataclasses.replace(app.state.earshot, wake_worker=lambda: woken.append(None))
    assert friend.get(path).status_code == 200 and me.get("/").status_code == 200 and woken == []
    assert me.get(path).status_code == 200 and woken == [None]


@pytest.mark.parametrize("losses", [[], [1.0], [3.0, 2.0, 1.0], [1.0, 1.0], [1e9, -1e9, 0.0]])
def test_a_running_job_shows_the_same_with_and_without_its_script(
    me: TestClient, db: Database, admin: Listener, losses: list[float]
) -> None:
    with db.write() as session:
        session.add(
            Job(
                listener_id=admin.id, state="running", phase="learning", step=3, of=12, loss=0.5, eta=4.2, losses=losses
            )
        )
    text = me.get("/taste").text
    assert "Learning, step 3 of 12" in text and "loss 0.500 · about 4 s left" in text
    assert ('class="picture loss"' in text) == (len(losses) > 1)
    no_style_or_script(text)


def test_two_versions_are_listed_side_by_side(
    me: TestClient, db: Database, engine: Engine, admin: Listener, ben: Listener, played: None
) -> None:
    one = give_adapter(db, engine, admin, 1)
    text = me.get("/taste/compare", params={"a": "", "b": one}).text
    left, right = (text.split(f'id="column-{n}"')[1].split("</section>")[0] for n in (1, 2))
    assert len(names(left)) == len(names(right)) == 20 and names(left) != names(right)
    both = set(names(left)) & set(names(right))
    assert text.count("only here") == 40 - 2 * len(both)
    same = me.get("/taste/compare").text
    assert "only here" not in same and same.count("the same place there") == 40
    theirs = give_adapter(db, engine, ben, 2)
    for wrong in (theirs, "f" * 16, "x", "\x00", "\ud800", "é"):
        assert me.get("/taste/compare", params={"a": wrong.encode("utf-8", "surrogatepass")}).status_code == 404
    engine.store.remove(admin.id, one)
    engine.forget(admin.id)
    assert "the base answered" in me.get("/taste/compare", params={"b": one}).text


def test_the_map_lights_ones_own_songs_and_lists_them(
    me: TestClient, db: Database, engine: Engine, admin: Listener, played: None
) -> None:
    assert "being laid out" in me.get("/taste/map").text or engine.laid_out()
    engine.lay_out()
    text = me.get("/taste/map").text
    rows = text.split("data-rows>")[1].split("</tbody>")[0]
    assert rows.count("<tr>") == 21, "also the one that the catalogue's vectors do not have yet"
    lit = text.split('class="plot overlay"')[1].split("serie-2")[1].split("serie-3")[0]
    assert lit.count("<circle") == 21 and "0.0 %" in rows
    assert "No adapter answers for you yet" in text and text.count('class="region"') >= 5
    give_adapter(db, engine, admin, 1)
    moved = me.get("/taste/map").text
    turned = [float(x) for x in re.findall(r"<td>([\d.]+) %</td>", moved)]
    assert len(turned) == 21 and min(turned) > 0
    no_style_or_script(moved)


def test_a_newcomers_map_is_the_catalogue_alone(me: TestClient, engine: Engine) -> None:
    engine.lay_out()
    assert "No song of yours is encoded yet" in me.get("/taste/map").text
    assert me.get("/taste").status_code == 200


@pytest.mark.parametrize(
    "drawn",
    [
        pictures.bars([(HOSTILE, 3), ("w" * 500, 1), ("", 0)]),
        pictures.bars([(HOSTILE, 10**9)], upright=True),
        pictures.places([(1, 1)]),
        pictures.places([(1, 16_883), (250, 3)]),
        pictures.matrices(384, 384, 8),
        pictures.matrices(100, 700, 64),
        pictures.song_map([], [], []),
        pictures.song_map([(0.1, 0.2)], [((0.0, 0.0), (1.0, -1.0))], [(HOSTILE, (0.5, 0.5))]),
    ],
)
def test_a_picture_carries_no_style_no_script_and_no_foreign_mark(drawn: Markup) -> None:
    assert drawn.startswith("<svg") and 'aria-hidden="true"' in drawn
    assert "<!--" not in drawn and not re.search(r"<(style|script|image|foreignObject|a)\b", drawn)
    assert not re.search(r"\s(style|on\w+|href|xlink:href)=", drawn.replace('"onload=', ""))
    assert "<script>x" not in drawn


def test_nothing_to_draw_is_no_picture(app: FastAPI) -> None:
    assert pictures.bars([]) == pictures.places([]) == pictures.loss_curve([1.0]) == ""


def test_the_matrices_are_drawn_to_scale() -> None:
    drawn = pictures.matrices(384, 384, 8)
    sides = []
    for path in re.findall(r'd="M([^"]+)" class="line', drawn):
        numbers = [float(x) for x in re.findall(r"[\d.]+", path)]
        sides.append((max(numbers[::2]) - min(numbers[::2]), max(numbers[1::2]) - min(numbers[1::2])))
    (w, h), (bw, bh), (aw, ah) = sides
    assert w == pytest.approx(h, rel=0.02) and bh == pytest.approx(h) and aw == pytest.approx(w)
    assert w / bw == pytest.approx(48, rel=0.02) and h / ah == pytest.approx(48, rel=0.02)
