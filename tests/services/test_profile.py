"""What a listener played, counted: in their time zone, theirs alone, skips left out."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from app.db import Database
from app.services import listens, profile, proof
from app.tables import AdapterVersion, Listen, Listener, Song


def test_plays_are_counted_by_genre_artist_and_decade(db: Database, ana: Listener, ben: Listener) -> None:
    with db.write() as session:
        songs = session.scalars(select(Song).where(Song.year.is_not(None)).order_by(Song.id).limit(400)).all()
        first = songs[0]
        other = next(
            s for s in songs if s.artist_key != first.artist_key and (s.year or 0) // 10 != (first.year or 0) // 10
        )
        session.add(Listen(listener_id=ana.id, song_id=first.id, listened_at=None, plays=5))
        listens.log(session, ana.id, song_id=other.id, at=1_700_000_000)
        listens.log(session, ana.id, song_id=other.id, at=1_700_000_100, ended="skipped")
        listens.log(session, ben.id, song_id=other.id, at=1_700_000_000)
    with db.read() as session:
        found = profile.of(session, ana.id, "UTC")
    assert [(a.name, a.plays) for a in found.artists] == [(first.artist, 5), (other.artist, 1)]
    assert {d.key: d.plays for d in found.decades} == {
        str((first.year or 0) // 10 * 10): 5,
        str((other.year or 0) // 10 * 10): 1,
    }
    assert found.genres[0].plays >= 5 and {g.name for g in found.genres} == {*first.genres, *other.genres}
    assert (found.calendar.undated, found.calendar.plays) == (5, 0)


@pytest.mark.parametrize(("zone", "day"), [("Pacific/Kiritimati", 12), ("Pacific/Niue", 10), ("UTC", 11)])
def test_the_calendar_goes_by_the_listeners_own_days(
    db: Database, ana: Listener, song_ids: list[int], monkeypatch: pytest.MonkeyPatch, zone: str, day: int
) -> None:
    now = int(datetime(2026, 3, 12, 12, tzinfo=ZoneInfo("UTC")).timestamp())
    monkeypatch.setattr(profile, "now", lambda: now)
    at = int(datetime(2026, 3, 11, 10, 30, tzinfo=ZoneInfo("UTC")).timestamp())
    with db.write() as session:
        for n in range(3):
            listens.log(session, ana.id, song_id=song_ids[n], at=at)
        listens.log(session, ana.id, song_id=song_ids[0], at=at - 400 * 86_400)
    with db.read() as session:
        year = profile.of(session, ana.id, zone).calendar
    days = [d for _, row in year.rows for d in row if d is not None]
    assert [(d.date.day, d.plays, d.level) for d in days if d.plays] == [(day, 3, 4)]
    assert [name for name, _ in year.rows] == [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ]
    assert all(d.date.strftime("%A") == name for name, row in year.rows for d in row if d)
    assert sum(m.plays for m in year.months) == year.plays == 3 and year.days == 1


def version(before: list[int], after: list[int], songs: list[int]) -> AdapterVersion:
    """A version whose hidden songs had these places."""

    def held(ranks: list[int]) -> dict[str, object]:
        found = sum(r <= 100 for r in ranks)
        return {"ranks": ranks, "songs": songs, "found": found, "of": len(ranks), "within": 100}

    return AdapterVersion(before=held(before), after=held(after))


def test_the_proof_names_the_hidden_songs_and_says_how_sure_it_is(db: Database, song_ids: list[int]) -> None:
    ids = list(song_ids[:12])
    before, after = [500] * 8 + [5, 6, 7, 8], [50] * 8 + [5, 6, 700, 9]
    with db.read() as session:
        found = proof.of(session, version(before, after, ids))
        again = proof.of(session, version(before, after, ids))
    assert (found.before, found.after, found.of, found.higher, found.lower) == (4, 11, 12, 8, 2)
    assert found.low > 0 and found.high >= 7 and found.sure and (found.low, found.high) == (again.low, again.high)
    assert [h.after for h in found.hidden] == sorted(after)
    assert {h.song.id for h in found.hidden if h.song} == set(ids)


def test_a_change_of_one_song_is_not_called_sure(db: Database, song_ids: list[int]) -> None:
    with db.read() as session:
        found = proof.of(session, version([500] * 10, [50] + [500] * 9, list(song_ids[:10])))
        assert (found.low, found.sure) == (0, False)
        old = version([5], [4], [])  # an older version's row knows no songs
        assert proof.of(session, old).hidden[0].song is None
