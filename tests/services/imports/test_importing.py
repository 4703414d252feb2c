"""Import: every row accounted for, nothing twice, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from app.db import Database
from app.services import catalogue, importing, listens, plain_format
from app.services.importing import ImportReport
from app.services.plain_format import Dropped, Row
from app.starter.reading import read as read_starter
from app.tables import Artist, Listen, Listener, Song
from tests.inputs import times

AT = 1_700_000_000


def bring(db: Database, listener: Listener, rows: list[Row | Dropped]) -> ImportReport:
    """Import rows in one transaction."""
    with db.write() as session:
        return importing.import_rows(session, listener.id, iter(rows))


def state(db: Database) -> tuple[list[tuple[object, ...]], int]:
    """All listens, and the number of songs."""
    columns = (Listen.listener_id, Listen.song_id, Listen.listened_at, Listen.plays, Listen.rating)
    with db.read() as session:
        found = [tuple(row) for row in session.execute(select(*columns).order_by(Listen.id))]
        return found, session.scalar(select(func.count()).select_from(Song)) or 0


def row(line: int, title: str, at: int | None = None, plays: int = 1, rating: float | None = None) -> Row:
    """A row by an artist whom the catalogue lacks."""
    return Row(line, "Nobody We Know", title, at, plays, rating)


def test_rows_become_listens_and_new_songs_join_the_catalogue(db: Database, ana: Listener) -> None:
    songs = state(db)[1]
    report = bring(db, ana, [row(2, "One", AT), row(3, "One", AT + 1), row(4, "Two", None, 7, 4.0)])
    assert report.as_dict() == {
        "rows": 3, "taken": 3, "folded": 0, "dropped": 0, "soft": 0, "skips": 0, "undated": 1, "feedback": 0,
        "new_songs": 2, "kinds": {}, "reasons": [],
    }  # fmt: skip
    assert state(db)[1] == songs + 2
    assert [r[2:] for r in state(db)[0]] == [(AT, 1, None), (AT + 1, 1, None), (None, 7, 4.0)]


def test_importing_again_adds_nothing(db: Database, ana: Listener) -> None:
    rows = [row(2, "One", AT), row(3, "Two", None, 7), row(4, "Two (Remastered)", None, 2), Dropped(5, "broken")]
    bring(db, ana, list(rows))
    before = state(db)
    again = bring(db, ana, list(rows))
    assert (again.rows, again.taken, again.folded, again.dropped, again.new_songs) == (4, 0, 3, 1, 0)
    assert state(db) == before


def test_undated_rows_of_one_song_add_up_and_never_shrink(db: Database, ana: Listener) -> None:
    report = bring(db, ana, [row(2, "One", None, 3), row(3, "ONE", None, 4, 5.0)])
    assert (report.taken, report.folded, report.undated) == (1, 1, 1)
    assert state(db)[0][0][3:] == (7, 5.0)
    bring(db, ana, [row(2, "One", None, 2)])
    assert state(db)[0][0][3:] == (7, 5.0)
    bring(db, ana, [row(2, "One", None, 9)])
    assert state(db)[0][0][3:] == (9, 5.0)


def test_a_song_that_is_there_is_used_with_its_artists_facts(db: Database, ana: Listener) -> None:
    with db.write() as session:
        catalogue.load_starter(session, read_starter()[:1])
    with db.read() as session:
        known = session.scalars(select(Song)).first()
        artist = session.scalars(select(Artist).where(Artist.key == known.artist_key)).one() if known else None
    assert known is not None and artist is not None
    report = bring(
        db,
        ana,
        [
            Row(2, known.artist.upper(), known.title.lower(), AT, 1, None),
            Row(3, artist.name, "An Unknown One", AT, 1, None),
            Row(4, "Nobody We Know", "Tagged", AT, 1, None, ("Rock", "seen live", "jazz"), 1999),
        ],
    )
    assert report.new_songs == 2
    with db.read() as session:
        (new,) = session.scalars(select(Song).where(Song.title == "An Unknown One"))
        (tagged,) = session.scalars(select(Song).where(Song.title == "Tagged"))
        assert (new.genres, new.country) == (artist.genres, artist.country)
        assert (tagged.genres, tagged.year) == (["rock", "jazz"], 1999), "only genres of the vocabulary are taken"


def test_friends_importing_the_same_rows_do_not_collide(db: Database, ana: Listener, ben: Listener) -> None:
    rows: list[Row | Dropped] = [row(2, "One", AT), row(3, "Two", None, 2)]
    assert bring(db, ana, list(rows)).taken == bring(db, ben, list(rows)).taken == 2


def test_many_reasons_are_counted_all_and_kept_in_part(db: Database, ana: Listener) -> None:
    report = bring(db, ana, [Dropped(line, "broken") for line in range(2, 3002)])
    assert (report.rows, report.dropped, len(report.reasons)) == (3000, 3000, 1000)


def test_a_failure_in_the_middle_leaves_nothing_half_written(db: Database, ana: Listener) -> None:
    def breaks_off() -> Iterator[Row | Dropped]:
        for i in range(1000):
            yield row(i + 2, f"Song {i}", AT + i)
        raise OSError("the disk is gone")

    before = state(db)
    with pytest.raises(OSError, match="the disk is gone"), db.write() as session:
        importing.import_rows(session, ana.id, breaks_off())
    assert state(db) == before


def test_more_rows_than_a_chunk_are_all_taken(db: Database, ana: Listener) -> None:
    rows: list[Row | Dropped] = [row(i + 2, f"Song {i % 450}", None if i % 2 else AT + i) for i in range(1500)]
    report = bring(db, ana, rows)
    assert report.rows == 1500 == report.taken + report.folded
    assert (report.new_songs, len(state(db)[0])) == (450, report.taken)
    with db.read() as session:
        assert listens.page(session, ana.id)[1] == report.taken


FIELDS = {
    "artist": st.sampled_from(["Nobody We Know", "Somebody", "", "A\x00", "the somebody"]),
    "title": st.sampled_from(["One", "one", "Two (feat. X)", "Two", "", "x" * 600]),
    "at": st.sampled_from(["", "1700000000", "1700000001", "0", "soon", "99999999999999", "--1"]),
    "plays": st.sampled_from(["", "1", "3", "0", "-1", "x"]),
    "rating": st.sampled_from(["", "5", "1", "nan", "9"]),
}
LINES = st.lists(st.fixed_dictionaries(FIELDS), max_size=40)


@settings(max_examples=times(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES)
def test_every_row_is_taken_folded_or_dropped(
    db: Database, ana: Listener, tmp_path: Path, lines: list[dict[str, str]]
) -> None:
    path = tmp_path / "some.tsv"
    body = "".join("\t".join(line.values()) + "\n" for line in lines)
    path.write_text("\t".join(FIELDS) + "\n" + body, encoding="utf-8")
    present = sum(1 for line in lines if "".join(line.values()).strip())
    with db.write() as session:
        before = session.scalar(select(func.count()).select_from(Listen)) or 0
        report = importing.import_rows(session, ana.id, plain_format.read_plain(path))
        after = session.scalar(select(func.count()).select_from(Listen)) or 0
        assert report.rows == present == report.taken + report.folded + report.dropped
        assert after - before == report.taken
        assert len(report.reasons) == report.dropped and all(r.reason and r.line >= 2 for r in report.reasons)
        again = importing.import_rows(session, ana.id, plain_format.read_plain(path))
        assert (again.taken, again.new_songs, again.dropped) == (0, 0, report.dropped)
        assert (session.scalar(select(func.count()).select_from(Listen)) or 0) == after
