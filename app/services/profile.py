"""What a listener has played: the most played genres, artists and decades, and a calendar of the last year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.tables import Listen, Song, SongGenre, now

_WEEKS = 53
_LEVELS = 4


@dataclass(frozen=True, slots=True)
class Counted:
    """A genre, an artist or a decade, and its plays. ``key`` is what its page is called by."""

    name: str
    plays: int
    key: str


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the calendar; level 0 (nothing) to 4 (a day of many plays)."""

    date: date
    plays: int
    level: int


@dataclass(frozen=True, slots=True)
class Month:
    """Plays of a month, as text beside the calendar."""

    name: str
    plays: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The last 53 weeks: rows Monday to Sunday, each with one day a week (None: still to come), and the months."""

    rows: Sequence[tuple[str, Sequence[Day | None]]]
    months: Sequence[Month]
    days: int
    plays: int
    undated: int


@dataclass(frozen=True, slots=True)
class Profile:
    """A listener's most played, most first (decades: oldest first)."""

    genres: Sequence[Counted]
    artists: Sequence[Counted]
    decades: Sequence[Counted]
    calendar: Calendar


def of(db: Session, listener: str, zone: str, most: int = 10) -> Profile:
    """Everything that the page of one's taste counts; skips do not count."""
    plays = func.sum(Listen.plays).label("plays")
    mine = (Listen.listener_id == listener, Listen.ended == "played")
    joined = select(Song.artist_key, func.min(Song.artist), plays).join(Listen, Listen.song_id == Song.id).where(*mine)
    artists = db.execute(joined.group_by(Song.artist_key).order_by(plays.desc(), Song.artist_key).limit(most))
    by_genre = select(SongGenre.genre, plays).join(Listen, Listen.song_id == SongGenre.song_id).where(*mine)
    genres = db.execute(by_genre.group_by(SongGenre.genre).order_by(plays.desc(), SongGenre.genre).limit(most))
    by_year = select(Song.year, plays).join(Listen, Listen.song_id == Song.id).where(*mine, Song.year.is_not(None))
    decades: dict[int, int] = {}
    for year, count in db.execute(by_year.group_by(Song.year)):
        decades[int(year or 0) // 10 * 10] = decades.get(int(year or 0) // 10 * 10, 0) + int(count)
    return Profile(
        [Counted(genre, int(count), genre) for genre, count in genres],
        [Counted(name, int(count), key) for key, name, count in artists],
        [Counted(f"{decade}s", decades[decade], str(decade)) for decade in sorted(decades)],
        _calendar(db, listener, ZoneInfo(zone)),
    )


def _calendar(db: Session, listener: str, zone: ZoneInfo) -> Calendar:
    today = datetime.fromtimestamp(now(), UTC).astimezone(zone).date()
    first = today - timedelta(days=today.weekday() + 7 * (_WEEKS - 1))
    since = int(datetime(first.year, first.month, first.day, tzinfo=zone).timestamp())
    mine = (Listen.listener_id == listener, Listen.ended == "played")
    plays: dict[date, int] = {}
    for at, count in db.execute(select(Listen.listened_at, Listen.plays).where(*mine, Listen.listened_at >= since)):
        day = datetime.fromtimestamp(at or 0, UTC).astimezone(zone).date()
        plays[day] = plays.get(day, 0) + count
    undated = db.scalar(select(func.sum(Listen.plays)).where(*mine, Listen.listened_at.is_(None))) or 0
    highest = max(plays.values(), default=0)
    days = [first + timedelta(days=n) for n in range(7 * _WEEKS)]
    cells = [None if d > today else Day(d, plays.get(d, 0), _level(plays.get(d, 0), highest)) for d in days]
    rows = [(days[weekday].strftime("%A"), cells[weekday::7]) for weekday in range(7)]
    months: dict[str, int] = {}
    for day in days:
        if day <= today:
            months[day.strftime("%B %Y")] = months.get(day.strftime("%B %Y"), 0) + plays.get(day, 0)
    return Calendar(
        rows, [Month(name, count) for name, count in months.items()], len(plays), sum(plays.values()), int(undated)
    )


def _level(plays: int, highest: int) -> int:
    return 0 if not plays else max(1, -(-_LEVELS * plays // highest))
