"""Complete songs from MusicBrainz: year, genres, recording ids. Off unless EARSHOT_MUSICBRAINZ_URL names a server.

Follows its rules for clients (https://musicbrainz.org/doc/MusicBrainz_API/Rate_Limiting): one request a second, a
user agent that says who asks. Each song is asked for once; what was said is kept.
"""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import String, cast, func, or_, select
from sqlalchemy.orm import Session

from app.db import Database
from app.errors import MusicBrainzProblem
from app.services import submitting
from app.services.listenbrainz_format import check_mbid
from app.services.text import artist_key, fold, title_key
from app.starter.reading import vocabulary
from app.tables import Song, now
from app.tables_players import Recording, SongLookup

_AGENT = "Earshot/0.1 (self-hosted music recommender)"
_TIMEOUT_SECONDS = 20
_MOST_BYTES = 2_000_000
_LEAST_SCORE = 90
_MOST_GENRES = 5
_SECOND = 1.0
_ASK_AGAIN_SECONDS = 180 * 86_400  # for songs that it did not know


@dataclass(frozen=True, slots=True)
class Facts:
    """What MusicBrainz says of a song."""

    mbid: str
    year: int | None
    genres: list[str]


class MusicBrainz:
    """Its web service, asked at most once a second. ``clock`` and ``sleep`` are for tests."""

    def __init__(
        self, url: str, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url, self._clock, self._sleep = url.rstrip("/"), clock, sleep
        self._last: float | None = None

    def facts(self, artist: str, title: str, mbid: str | None = None) -> Facts | None:
        """Facts of a recording by id, or of the oldest one of that name; None if it knows none.

        Raises MusicBrainzProblem when it does not answer as it should.
        """
        found = None if mbid else self._search(artist, title)
        known = mbid or (check_mbid(found.get("id"), "id") if found else None)
        if known is None:
            return None
        more = self._get(f"recording/{known}", inc="genres+artist-credits")
        if more is None:
            return None
        date = more.get("first-release-date") or (found or {}).get("first-release-date")
        return Facts(known, _year(date), _genres(more.get("genres")))

    def _search(self, artist: str, title: str) -> dict[str, Any] | None:
        query = f'recording:"{_quoted(title)}" AND artist:"{_quoted(artist)}"'
        found = self._get("recording", query=query, limit="25") or {}
        same = [one for one in found.get("recordings") or [] if _is_same(one, artist, title)]
        return min(same, key=lambda one: str(one.get("first-release-date") or "9999"), default=None)

    def _get(self, path: str, **query: str) -> dict[str, Any] | None:
        """A JSON object, or None for 404."""
        if self._last is not None:
            self._sleep(max(0.0, self._last + _SECOND - self._clock()))
        self._last = self._clock()
        address = f"{self._url}/{path}?{urllib.parse.urlencode({**query, 'fmt': 'json'})}"
        request = urllib.request.Request(address, headers={"User-Agent": _AGENT, "Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                found = json.loads(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as problem:
            with problem:
                if problem.code == 404:
                    return None
                raise MusicBrainzProblem(f"MusicBrainz answered {problem.code}.") from None
        except (OSError, ValueError, RecursionError) as problem:
            raise MusicBrainzProblem(f"MusicBrainz does not answer as it should: {problem}.") from None
        if not isinstance(found, dict):
            raise MusicBrainzProblem("MusicBrainz does not answer as it should: no object.")
        return found


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _is_same(found: dict[str, Any], artist: str, title: str) -> bool:
    """Whether a search result is that song: both names match, not only its score."""
    credit = "".join(
        str(part.get("name", "")) + str(part.get("joinphrase") or "") for part in found.get("artist-credit") or []
    )
    score = found.get("score")
    return (
        isinstance(score, int) and score >= _LEAST_SCORE and title_key(str(found.get("title", ""))) == title_key(title)
        and artist_key(credit) == artist_key(artist)
    )  # fmt: skip


def _year(date: Any) -> int | None:
    found = re.match(r"(\d{4})", date) if isinstance(date, str) else None
    return int(found[1]) if found and 1850 <= int(found[1]) <= 2100 else None


def _genres(found: Any) -> list[str]:
    """Genres that our vocabulary has, the most voted first."""
    known, _ = vocabulary()
    voted = [one for one in found or [] if isinstance(one, dict) and fold(str(one.get("name", ""))) in known]
    voted.sort(key=lambda one: -int(one.get("count") or 0))
    return [fold(str(one["name"])) for one in voted][:_MOST_GENRES]


# -- our songs --------------------------------------------------------------------------------------


def next_song(db: Session) -> Song | None:
    """A song that lacks facts: one that listeners brought, newest first.

    Those that were never asked for come first, then those that may be asked for again, the longest waiting one first.
    """
    lacks = or_(Song.year.is_(None), Song.genres_from == "inferred")
    unknown = func.coalesce(cast(SongLookup.answer, String), "null") == "null"  # None is kept as JSON's null
    due = unknown & (SongLookup.asked_at <= now() - _ASK_AGAIN_SECONDS)
    wanted = select(Song).outerjoin(SongLookup, SongLookup.song_id == Song.id)
    wanted = wanted.where(Song.source.in_(("log", "import")), lacks, or_(SongLookup.song_id.is_(None), due))
    order = (SongLookup.song_id.is_not(None), SongLookup.asked_at, Song.id.desc())
    return db.scalar(wanted.order_by(*order).limit(1))


def complete_one(database: Database, server: MusicBrainz) -> tuple[int, bool] | None:
    """Ask for one song and keep the answer: (its id, whether its text changed); None if no song lacks anything.

    The database is not held while MusicBrainz thinks. Raises MusicBrainzProblem; then the song waits for another try,
    after all the others: one that is always refused must not keep them from being asked for.
    """
    with database.read() as db:
        song = next_song(db)
        if song is None:
            return None
        mbid = db.scalar(select(Recording.mbid).where(Recording.song_id == song.id).limit(1))
    try:
        facts = server.facts(song.artist, song.title, mbid)
    except MusicBrainzProblem:
        _note(database, song.id, None, now() - _ASK_AGAIN_SECONDS)
        raise
    if not _note(database, song.id, asdict(facts) if facts else None, now()):
        return song.id, False
    with database.write() as db:
        return song.id, facts is not None and _apply(db, song.id, facts)


def _note(database: Database, song_id: int, answer: dict[str, Any] | None, asked_at: int) -> bool:
    """False if the song is gone."""
    with database.write() as db:
        if db.get(Song, song_id) is None:
            return False
        db.merge(SongLookup(song_id=song_id, answer=answer, asked_at=asked_at))
        return True


def _apply(db: Session, song_id: int, facts: Facts) -> bool:
    """Fill what is missing; what was given with the song, or by a listener, stays. Whether the song's text changed."""
    song = db.get_one(Song, song_id)
    submitting.note_recording(db, facts.mbid, song_id)
    before = (song.year, list(song.genres))
    if song.year is None:
        song.year = facts.year
    if facts.genres and (song.genres_from == "inferred" or (not song.genres and song.genres_from == "given")):
        song.genres, song.genres_from = facts.genres, "given"
    return (song.year, song.genres) != before
