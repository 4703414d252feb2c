"""What a play repeats is found the same way whether the listener has played much or little at that time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import event

from app.db import Database
from app.services import catalogue
from app.services.imports import matching
from app.services.imports.matching import Known
from app.services.plain_format import Row
from app.tables import Listen, Listener

Rows = Sequence[tuple[int, Row]]
HOUR = 3_600


@pytest.fixture
def songs(db: Database) -> list[int]:
    """Five songs."""
    with db.write() as session:
        made = [catalogue.new_song("Nina Simone", f"Song {n}", source="log") for n in range(5)]
        session.add_all(made)
        session.flush()
        return [song.id for song in made]


def a_play(draw: random.Random, most: int) -> dict[str, int | str | None]:
    return {
        "at": 1_700_000_000 + draw.randint(0, most), "ended": draw.choice(["played", "skipped"]),
        "source": draw.choice(["web", "spotify"]), "duration_ms": draw.choice([None, 200_000, 2 * HOUR * 1000]),
        "played_ms": draw.choice([None, 150_000]),
    }  # fmt: skip


def found(db: Database, who: Listener, rows: Rows) -> list[Known | None]:
    with db.read() as session:
        return matching.matches(session, who.id, rows, "lastfm")


@pytest.mark.parametrize("seed", range(6))
def test_few_plays_read_whole_match_as_each_looked_up(
    db: Database, ana: Listener, ben: Listener, songs: list[int], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, taken = random.Random(seed), set[tuple[str, int, int]]()
    with db.write() as session:
        for _ in range(60):
            song, play, who = draw.choice(songs), a_play(draw, 6 * HOUR), draw.choice([ana.id, ben.id])
            at = int(str(play.pop("at")))
            if (who, song, at) not in taken:
                session.add(Listen(listener_id=who, song_id=song, listened_at=at, **play))
            taken.add((who, song, at))
        session.add(Listen(listener_id=ana.id, song_id=songs[0], listened_at=None, plays=9))
    rows = []
    for line in range(600):
        play = a_play(draw, 6 * HOUR)
        at = draw.choice([at for _, _, at in taken]) if line % 9 == 0 else int(str(play["at"]))
        lengths = {name: play[name] for name in ("duration_ms", "played_ms")}
        rows.append((draw.choice(songs), Row(line, "A", "B", at, 1, None, ended=str(play["ended"]), **lengths)))  # type: ignore[arg-type]
    with db.read() as session:
        assert matching._look_at_few(session, ana.id, rows, [HOUR] * len(rows)) is not None
    whole = found(db, ana, rows)
    monkeypatch.setattr(matching, "_look_at_few", lambda *_: None)
    assert whole == found(db, ana, rows)
    assert {one.exact for one in whole if one is not None and one.listen is not None} == {True, False}


def test_where_there_is_much_each_is_looked_up(db: Database, ana: Listener, songs: list[int]) -> None:
    rows = [(songs[0], Row(line, "A", "B", 1_700_000_000 + 10 * HOUR * line, 1, None)) for line in range(16)]
    with db.write() as session:
        for line in range(3):
            session.add(Listen(listener_id=ana.id, song_id=songs[0], listened_at=1_700_000_000 + 10 * HOUR * line))
    with db.read() as session:
        assert matching._look_at_few(session, ana.id, rows, [900] * 16) is None
    assert [known is not None for known in found(db, ana, rows)] == [True] * 3 + [False] * 13


def test_the_plays_of_that_time_are_found_by_an_index(db: Database, ana: Listener) -> None:
    if not db.is_sqlite:
        return
    asked: list[tuple[str, Any]] = []
    with db.read() as session:
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
        matching._look_at_few(session, ana.id, [(1, Row(1, "A", "B", 1_700_000_000, 1, None))], [900])
        ((statement, values),) = asked
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert plan[0] == (
        "SEARCH listens USING INDEX ix_listens_listener_time (listener_id=? AND listened_at>? AND listened_at<?)"
    )
