"""Pages for those who are signed in, their own things only, and live progress."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.db import Database
from app.errors import BaseMissing
from app.services import accounts, listens, retraining, sharing
from app.tables import AdapterVersion, Job, Listen, Listener, Song
from app.web import live
from app.web.live import Watch

HTML = "<script>alert('x')</script><img src=x onerror=alert(1)>"
PAGES = ["/", "/welcome", "/listens", "/listens?p=2", "/listens/new", "/listens/new?q=queen", "/recommend",
         "/recommend?mode=familiar", "/recommend?wish=rain", "/recommend?part=1", "/taste", "/friends",
         "/settings"]  # fmt: skip


def test_every_page_shows_with_and_without_listens(
    me: TestClient, db: Database, admin: Listener, songs: list[int]
) -> None:
    for path in PAGES:
        answer = me.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8", path
    with db.write() as session:
        for song in songs[:60]:
            listens.log(session, admin.id, song_id=song, at=1_700_000_000 + song)
    for path in PAGES:
        assert me.get(path).status_code == 200, path


def test_the_first_page_names_what_it_shows_as_its_events_do(
    me: TestClient, db: Database, admin: Listener, songs: list[int]
) -> None:
    def told() -> tuple[str, str]:
        shown = re.findall(r'data-seen="(\w+)"', me.get("/").text)
        heard = re.findall(r"^data: (.*)$", me.get("/live/events").text, re.MULTILINE)
        assert len(shown) == len(heard) == 1
        return shown[0], heard[0]

    before = told()
    assert before[0] == before[1]  # or every page would be fetched twice
    with db.write() as session:
        listens.log(session, admin.id, song_id=songs[0], at=1_700_000_000)
    after = told()
    assert after[0] == after[1] != before[0]


def test_what_leaves_the_first_page_changes_its_digest_too(
    me: TestClient, db: Database, admin: Listener, ben: Listener, songs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.write() as session:
        sharing.share(session, ben.id, "circle")
        listens.log(session, ben.id, song_id=songs[0])
        mine = [listens.log(session, admin.id, song_id=song)[0].id for song in songs[1:3]]
    monkeypatch.setattr(live, "_REST", 0)
    watch = Watch(me.app.state.earshot, admin.id)  # type: ignore[attr-defined]
    told = [watch.look()]

    def change(what: Callable[[Session], object]) -> None:
        with db.write() as session:
            what(session)
        told.append(watch.look())

    change(lambda session: listens.edit(session, admin.id, mine[0], at=1_700_000_000, ended="skipped"))
    change(lambda session: listens.set_learn(session, admin.id, mine[0], False))
    change(lambda session: listens.remove(session, admin.id, mine[0]))
    change(lambda session: sharing.share(session, ben.id, "off"))
    change(lambda session: listens.log(session, admin.id, song_id=songs[4]))
    assert len(set(told)) == 6
    change(lambda session: listens.log(session, ben.id, song_id=songs[5]))
    assert told[-1] == told[-2], "others' listens that may not be seen change nothing"


def test_listens_are_asked_for_only_when_something_was_changed(
    me: TestClient, db: Database, admin: Listener, songs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    page = listens.page
    monkeypatch.setattr(live, "_REST", 0)
    monkeypatch.setattr(listens, "page", lambda *a: asked.append(1) or page(*a))
    watch = Watch(me.app.state.earshot, admin.id)  # type: ignore[attr-defined]
    assert watch.look() == watch.look() == watch.look() and len(asked) == 1
    with db.write() as session:
        listens.log(session, admin.id, song_id=songs[0])
    assert watch.look() == watch.look() and len(asked) == 2
    monkeypatch.setattr(Database, "changes", lambda self: None)  # as on PostgreSQL
    watch.look(), watch.look()
    assert len(asked) == 4
    monkeypatch.setattr(live, "_REST", 10**9)
    watch.look(), watch.look()
    assert len(asked) == 5, "many changes do not make a tab that is open a load"
    assert Watch(me.app.state.earshot, admin.id).look() == watch.look()  # type: ignore[attr-defined]


def test_the_last_row_of_the_last_page_can_be_deleted(
    me: TestClient, db: Database, admin: Listener, songs: list[int]
) -> None:
    with db.write() as session:
        ids = [listens.log(session, admin.id, song_id=songs[0], at=1_700_000_000 + n)[0].id for n in range(51)]
    gone = me.post(f"/listens/{ids[0]}/delete", data={"back": "/listens?p=2"})
    text = me.get(gone.headers["location"]).text
    assert "50 in all" in text and f"/listens/{ids[1]}/edit" in text and "Nothing logged yet" not in text


def version(listener: Listener, number: int = 1) -> AdapterVersion:
    """A version as a finished run leaves it in the database."""
    held = {"ranks": [1], "gain": 0.5, "found": 1, "ndcg_10": 0.5, "of": 1, "within": 100}
    return AdapterVersion(
        id=f"{number:016x}", listener_id=listener.id, number=number, promoted=True, why="It finds more.",
        base_fingerprint="f" * 64, before=held, after=held, difference=0.1, low=0.0, high=0.2, learnt_from=10,
        trainable_parameters=24_576, base_parameters=22_000_000, size=100_000, seconds=2.5,
    )  # fmt: skip


def test_the_taste_page_shows_the_proof_and_the_way_back(me: TestClient, db: Database, admin: Listener) -> None:
    with db.write() as session:
        session.add_all([version(admin, 1), version(admin, 2)])
        session.add(Job(listener_id=admin.id, state="promoted", version=f"{2:016x}"))
        session.get_one(Listener, admin.id).live_version = f"{2:016x}"
    text = me.get("/taste").text
    for words in ("Promoted", "It finds more.", "24,576", "22,000,000", "Use version 1", "Use the base"):
        assert words in text
    since, proved = "the version learnt from the hidden songs too", f"/api/v1/taste/versions/{2:016x}/proof"
    assert since not in text and me.get(proved).json()["learnt_since"] is False
    with db.write() as session:
        row = session.get_one(AdapterVersion, f"{2:016x}")
        row.after = row.after | {"learnt_since": True}
    assert since in me.get("/taste").text and me.get(proved).json()["learnt_since"] is True
    assert me.post("/taste/live", data={"version": f"{1:016x}"}).status_code == 303
    with db.read() as session:
        assert session.get_one(Listener, admin.id).live_version == f"{1:016x}"
    assert me.post("/taste/live", data={"version": ""}).status_code == 303
    with db.read() as session:
        assert session.get_one(Listener, admin.id).live_version is None


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled", "kept"])
def test_the_taste_page_shows_a_job_in_any_state(me: TestClient, db: Database, admin: Listener, state: str) -> None:
    with db.write() as session:
        session.add(
            Job(listener_id=admin.id, state=state, error=HTML, phase="training", step=3, of=20, loss=0.5, eta=4.0)
        )
    answer = me.get("/taste")
    assert answer.status_code == 200 and HTML not in answer.text


def test_a_song_is_logged_by_id_and_by_name_and_can_be_searched(me: TestClient, db: Database, songs: list[int]) -> None:
    json_too = {"accept": "application/json"}
    one = me.post("/listens", data={"song_id": str(songs[0])}, headers=json_too)
    assert (one.status_code, one.json()["song"], one.json()["new_song"]) == (201, songs[0], False)
    two = me.post("/listens", data={"artist": "Zebra Zone", "title": "Stripes"}, headers=json_too)
    assert (two.status_code, two.json()["new_song"]) == (201, True)
    (found,) = me.get("/api/songs", params={"q": "zebra"}).json()["songs"]
    assert (found["artist"], found["title"], found["id"]) == ("Zebra Zone", "Stripes", two.json()["song"])
    assert "Stripes" in me.get("/listens").text


def test_a_second_click_on_a_form_is_answered_as_the_first_and_logs_nothing_more(
    me: TestClient, db: Database, songs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser without scripts sends both and shows the last answer."""
    monkeypatch.setattr(listens, "now", lambda: 1_700_000_000)
    form = {"song_id": str(songs[0])}
    first, second = me.post("/listens", data=form), me.post("/listens", data=form)
    assert (second.status_code, second.headers["location"]) == (303, first.headers["location"])
    assert "logged=" in first.headers["location"]
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(Listen)) == 1
    program = me.post("/listens", data=form, headers={"accept": "application/json"})
    assert program.status_code == 409 and "very second" in program.text


@pytest.mark.parametrize("ready", [True, False], ids=["lost", "never there"])
def test_what_is_logged_without_a_base_is_said_to_be_logged(
    app: FastAPI, me: TestClient, db: Database, songs: list[int], ready: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def get() -> None:
        raise BaseMissing("There is no base.")

    broken = dataclasses.replace(app.state.earshot, engine=types.SimpleNamespace(ready=ready, get=get))
    app.state.earshot = broken
    assert me.post("/listens", data={"artist": "Zebra Zone", "title": "Stripes"}).status_code == 303
    assert "Stripes" in me.get("/").text
    if not ready:
        written = me.post(f"/songs/{songs[0]}/genres", data={"genres": "novelty"})
        assert written.headers["location"] == f"/songs/{songs[0]}" and "novelty" in me.get(f"/songs/{songs[0]}").text
    broken.later.wait()
    assert "not encoded yet: There is no base." in caplog.text


def test_a_new_song_is_encoded_at_once(me: TestClient, app: FastAPI) -> None:
    engine = app.state.earshot.engine.get()
    before = engine.encoded()
    me.post("/listens", data={"artist": "Zebra Zone", "title": "Stripes"})
    assert engine.encoded() == before + 1


def test_the_same_song_twice_in_one_second_is_a_conflict_and_not_a_bug(me: TestClient, songs: list[int]) -> None:
    fields = {"song_id": str(songs[0]), "when": "2024-01-01T10:00:00"}
    assert me.post("/listens", data=fields).status_code == 303
    assert me.post("/listens", data=fields).status_code == 409


def test_a_listen_is_edited_and_deleted(me: TestClient, db: Database, songs: list[int]) -> None:
    number = me.post("/listens", data={"song_id": str(songs[0])}, headers={"accept": "application/json"}).json()[
        "listen"
    ]
    assert me.get(f"/listens/{number}/edit").status_code == 200
    edited = me.post(f"/listens/{number}/edit", data={"when": "2024-01-01T10:00:00", "ended": "skipped"})
    assert edited.status_code == 303
    assert "1 Jan 2024, 10:00" in me.get("/listens").text and "skipped" in me.get("/listens").text
    assert me.post(f"/listens/{number}/edit", data={"when": ""}).status_code == 303
    assert "undated" in me.get("/listens").text
    assert me.post(f"/listens/{number}/delete").status_code == 303
    assert me.get(f"/listens/{number}/edit").status_code == 404


def test_an_edit_of_the_hour_that_comes_twice_leaves_the_time_alone(
    me: TestClient, db: Database, admin: Listener, songs: list[int]
) -> None:
    at = 1_698_541_200 + 1800  # 02:30 in Vienna for the second time, in the night when clocks go back
    with db.write() as session:
        accounts.set_time_zone(session, session.get_one(Listener, admin.id), "Europe/Vienna")
        number = listens.log(session, admin.id, song_id=songs[0], at=at)[0].id
    shown = re.search(r'name="when"[^>]*value="([^"]+)"', me.get(f"/listens/{number}/edit").text)
    assert shown is not None and shown[1] == "2023-10-29T02:30:00"
    for when, expected in (("2023-10-29T02:30", at), ("2023-10-29T02:31:00", at - 3600 + 60)):
        assert me.post(f"/listens/{number}/edit", data={"when": when, "ended": "skipped"}).status_code == 303
        with db.read() as session:
            listen = session.get_one(Listen, number)
            assert (listen.listened_at, listen.ended) == (expected, "skipped")


def test_feedback_changes_the_list(me: TestClient, songs: list[int]) -> None:
    for song in songs[:12]:
        me.post("/listens", data={"song_id": str(song)})
    found = me.get("/recommend?part=1").text
    first = int(re.findall(r"/songs/(\d+)/feedback", found)[0])
    assert me.post(f"/songs/{first}/feedback", data={"verdict": "dislike"}).status_code == 303
    assert f"/songs/{first}/" not in me.get("/recommend?part=1").text


def test_picks_make_a_first_list(me: TestClient) -> None:
    sent = me.post("/welcome", data={"genre": ["trap", "rock"], "artists": "Drake\r\nQueen\r\n\r\n"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/recommend")
    text = me.get("/recommend").text
    assert "your pick" in text or "your liking" in text
    assert "Drake\nQueen" in me.get("/welcome").text


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x0b", "\x85"])
def test_too_many_picks_are_refused_however_the_lines_end(
    me: TestClient, written: Callable[[], dict[str, int]], end: str
) -> None:
    before = written()
    answer = me.post("/welcome", data={"artists": end.join(f"Artist {n}" for n in range(500))})
    assert answer.status_code == 422
    assert written() == before


def test_too_few_songs_is_said_and_enough_make_one_job(me: TestClient, db: Database, songs: list[int]) -> None:
    refused = me.post("/taste/retrain")
    assert refused.status_code == 409 and "12 are missing" in refused.text
    for song in songs[:12]:
        me.post("/listens", data={"song_id": str(song)})
    for _ in range(2):
        assert me.post("/taste/retrain").status_code == 303
    with db.read() as session:
        assert len(session.scalars(select(Job)).all()) == 1
    assert "Cancel" in me.get("/taste").text
    assert me.post("/taste/cancel").status_code == 303
    assert me.post("/taste/cancel").status_code == 404


def test_html_in_names_and_titles_is_only_text(me: TestClient, db: Database, admin: Listener) -> None:
    with db.write() as session:
        accounts.add_listener(session, HTML[:60], None)
        listens.set_preferences(session, admin.id, [], [HTML])
    me.post("/listens", data={"artist": HTML, "title": HTML})
    for path in (*PAGES, "/listens/new?q=" + HTML, "/recommend?wish=" + HTML):
        text = me.get(path).text
        assert "<script>alert" not in text and "<img src=x" not in text, path
    assert "&lt;script&gt;" in me.get("/listens").text


def test_other_peoples_things_are_not_there(
    me: TestClient, friend: TestClient, db: Database, admin: Listener, songs: list[int]
) -> None:
    number = me.post("/listens", data={"song_id": str(songs[0])}, headers={"accept": "application/json"}).json()[
        "listen"
    ]
    with db.write() as session:
        session.add(version(admin))
        session.add(Job(listener_id=admin.id, state="running"))
        title = session.get_one(Song, songs[0]).title
    assert friend.get(f"/listens/{number}/edit").status_code == 404
    assert friend.post(f"/listens/{number}/edit", data={"ended": "skipped"}).status_code == 404
    assert friend.post(f"/listens/{number}/delete").status_code == 404
    assert friend.post("/taste/live", data={"version": f"{1:016x}"}).status_code == 404
    assert friend.post("/taste/cancel").status_code == 404
    assert friend.get("/taste/events").status_code == 404 or '"running"' not in friend.get("/taste/events").text
    assert title not in friend.get("/").text + friend.get("/listens").text
    with db.read() as session:
        (kept,) = session.scalars(select(Listen)).all()
        assert kept.ended == "played"


# -- live progress ----------------------------------------------------------------------------------


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The app on a real port, because progress is a stream that a test client would wait out."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    sockets = [server.config.bind_socket()]
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_progress_is_sent_as_it_happens_until_the_job_has_ended(
    app: FastAPI, me: TestClient, db: Database, admin: Listener
) -> None:
    with db.write() as session:
        job = Job(listener_id=admin.id)
        session.add(job)
    states = []
    with (
        served(app) as url,
        httpx.stream("GET", f"{url}/taste/events", cookies={"earshot": me.cookies["earshot"]}, timeout=30) as answer,
    ):
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if not line.startswith("data:"):
                continue
            states.append(json.loads(line.removeprefix("data:")))
            with db.write() as session:
                if states[-1]["state"] == "queued":
                    assert retraining.lease(session, "elsewhere:1")
                elif states[-1]["state"] == "running":
                    retraining.stop(session, job.id, "elsewhere:1", "failed", "no more")
    assert [s["state"] for s in states] == ["queued", "running", "failed"]
    assert [s["active"] for s in states] == [True, True, False]
    assert states[-1]["error"] == "no more"


def test_the_progress_of_a_job_that_has_ended_is_sent_once(me: TestClient, db: Database, admin: Listener) -> None:
    with db.write() as session:
        session.add(Job(listener_id=admin.id, state="kept", losses=[0.5, 0.4]))
    lines = [line for line in me.get("/taste/events").text.splitlines() if line.startswith("data:")]
    (only,) = [json.loads(line.removeprefix("data:")) for line in lines]
    assert (only["state"], only["active"], only["losses"]) == ("kept", False, [0.5, 0.4])
