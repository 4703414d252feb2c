"""What is exported and imported elsewhere is the same: import(export(x)) is x."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db import Database
from app.services import exporting, importing, listens
from app.services.imports.own_csv import as_it_was, defused
from app.services.plain_format import Row
from app.tables import Feedback, Listen, Listener, Song
from app.tables_imports import SoftDuplicate
from tests.inputs import times

from .conftest import Bring
from .exports_made import AT, GOOD_NAMES

ROWS = st.lists(
    st.builds(
        Row, st.just(1), GOOD_NAMES, GOOD_NAMES, st.one_of(st.none(), st.integers(AT, AT + 500)), st.integers(1, 99),
        st.one_of(st.none(), st.sampled_from([0.0, 2.5, 5.0])), album=st.one_of(st.none(), GOOD_NAMES),
        duration_ms=st.one_of(st.none(), st.integers(1, 10**7)), played_ms=st.one_of(st.none(), st.integers(0, 10**7)),
        ended=st.sampled_from(["played", "skipped"]), source=st.sampled_from(["", "spotify", "web", "lastfm"]),
        learn=st.booleans(),
    ),
    min_size=1, max_size=25,
)  # fmt: skip
SHAPES: dict[str, Callable[[Session, str], Iterator[bytes]]] = {"jsonl": exporting.jsonl, "csv": exporting.csv_lines}


def kept(db: Database, who: Listener) -> list[tuple[Any, ...]]:
    """Everything of somebody's listens that an export carries."""
    columns = (Song.artist_key, Song.title_key, Listen.listened_at, Listen.plays, Listen.rating, Listen.ended,
               Listen.album, Listen.duration_ms, Listen.played_ms, Listen.source, Listen.learn)  # fmt: skip
    with db.read() as session:
        rows = session.execute(
            select(*columns).join(Song, Song.id == Listen.song_id).where(Listen.listener_id == who.id)
        )
        return sorted((tuple(row) for row in rows), key=str)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=times(12), deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(rows=ROWS)
def test_listens_come_back_as_they_were(
    db: Database, ana: Listener, ben: Listener, bring: Bring, tmp_path: Path, shape: str, rows: list[Row]
) -> None:
    with db.write() as session:
        session.execute(delete(SoftDuplicate))
        session.execute(delete(Listen))
        importing.import_rows(session, ana.id, rows)
        session.execute(delete(SoftDuplicate))
    before = kept(db, ana)
    path = tmp_path / "export"
    with db.read() as session:
        path.write_bytes(b"".join(SHAPES[shape](session, ana.id)))
    _, again = bring(path)
    assert (again.taken, again.folded) == (0, len(before)), "to where they are already"
    assert kept(db, ana) == before
    _, report = bring(path, who=ben)
    assert report.dropped == 0
    if report.soft == 0:  # two sources that told of one play were one listen only if they came in that order
        assert kept(db, ben) == before


@given(cell=st.one_of(st.text(max_size=6), st.text("'=+-@\t＝", max_size=5)))
def test_no_cell_is_a_formula_and_each_can_be_read_back(cell: str) -> None:
    safe = defused(cell)
    assert safe[:1] not in set("=+-@\t\r＝＋－＠") and as_it_was(safe) == cell


def test_an_apostrophe_that_a_person_wrote_stays() -> None:
    assert as_it_was("'Til Tuesday") == "'Til Tuesday"


def test_feedback_comes_back_with_our_own_verdicts(
    db: Database, ana: Listener, ben: Listener, bring: Bring, tmp_path: Path
) -> None:
    verdicts = ["love", "dislike", "not_now", "know"]
    with db.write() as session:
        for n, verdict in enumerate(verdicts):
            listen, _ = listens.log(session, ana.id, artist="A", title=f"T{n}", at=AT + n)
            listens.say(session, ana.id, listen.song_id, verdict)
    path = tmp_path / "said"
    with db.read() as session:
        path.write_bytes(b"".join(exporting.feedback_lines(session, ana.id)))
    _, report = bring(path, who=ben)
    assert report.feedback == 4
    with db.read() as session:
        columns = (Feedback.song_id, Feedback.verdict, Feedback.until)
        both = [session.execute(select(*columns).where(Feedback.listener_id == who.id)).all() for who in (ana, ben)]
    assert sorted(map(str, both[0])) == sorted(map(str, both[1]))


def test_the_jsonl_is_listenbrainz_shape(db: Database, ana: Listener) -> None:
    with db.write() as session:
        importing.import_rows(session, ana.id, [Row(1, "A", "B", AT, 1, None, album="C", duration_ms=200_000)])
    with db.read() as session:
        (line,) = exporting.jsonl(session, ana.id)
    found = json.loads(line)
    track = found["track_metadata"]
    assert found["listened_at"] == AT
    assert (track["artist_name"], track["track_name"], track["release_name"]) == ("A", "B", "C")
    assert track["additional_info"]["duration_ms"] == 200_000
