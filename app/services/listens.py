"""Log, edit and delete listens; say what one thinks of a song."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from app.db import alone
from app.errors import BadInput, Conflict, NotFound
from app.services import catalogue
from app.services.text import show
from app.tables import Feedback, Listen, Preference, now

# ListenBrainz' own bounds: nothing before its oldest service began, nothing in the future but for a wrong clock.
EARLIEST = 1_033_430_400
AHEAD = 3_600
_NOT_NOW_DAYS = 14

Ended = Literal["played", "skipped"]
Verdict = Literal["love", "dislike", "not_now", "know"]


def check_time(at: int) -> int:
    """A time of listening in whole seconds. Raises BadInput outside [October 2002, now + 1 h)."""
    if at < EARLIEST:
        raise BadInput(f"A listen at {_shown(at)} is before October 2002, the earliest time taken.")
    if at >= now() + AHEAD:
        raise BadInput(f"A listen at {_shown(at)} lies in the future.")
    return at


def _shown(at: int) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return str(at)


def parse_when(value: str, zone: str, was: int | None = None) -> int:
    """The value of a datetime-local field, in the listener's zone; empty is now. Raises BadInput.

    was: the time that the field was filled with. Where the field still says it, it is that time: of an hour that comes
    twice, when clocks go back, the field alone cannot tell which.
    """
    if not value.strip():
        return now()
    try:
        local = datetime.fromisoformat(value.strip())
        if was is not None and local == datetime.fromtimestamp(was, ZoneInfo(zone)).replace(tzinfo=None):
            return was
        return check_time(int((local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))).timestamp()))
    except (ValueError, OverflowError):
        raise BadInput(f"{show(value)} is no date and time.") from None


def log(
    db: Session,
    listener: str,
    *,
    song_id: int | None = None,
    artist: str = "",
    title: str = "",
    at: int | None = None,
    ended: str = "played",
    source: str = "web",
    learn: bool = True,
) -> tuple[Listen, bool]:
    """Log one play of a catalogue song, or of a song by name that joins the catalogue.

    Returns the listen and whether its song is new. Raises BadInput, NotFound, or Conflict for a second listen of one
    song in one second.
    """
    if ended not in get_args(Ended):
        raise BadInput(f"A listen ends as played or skipped, not {show(ended)}.")
    at = check_time(now() if at is None else at)
    if song_id is not None:
        song, added = catalogue.song(db, song_id), False
    else:
        song, added = catalogue.find_or_add(db, artist, title, source="log")
    called = song.title  # after a failed flush the row cannot be asked any more
    listen = Listen(listener_id=listener, song_id=song.id, listened_at=at, ended=ended, source=source, learn=learn)
    db.add(listen)
    try:
        db.flush()
    except IntegrityError:
        raise Conflict(f"“{called}” is logged at that very second already.") from None
    return listen, added


def newest_at(db: Session, listener: str, at: int) -> int:
    """The id of the listen that was logged last for a second. Raises NotFound."""
    mine = select(func.max(Listen.id)).where(Listen.listener_id == listener, Listen.listened_at == at)
    if (found := db.scalar(mine)) is None:
        raise NotFound("Nothing is logged at that second.")
    return found


def own_listen(db: Session, listener: str, listen_id: int) -> Listen:
    """A listener's own listen with its song. Raises NotFound, also for somebody else's."""
    found = None
    if 0 < listen_id < 2**63:
        wanted = select(Listen).where(Listen.id == listen_id, Listen.listener_id == listener)
        found = db.scalar(wanted.options(joinedload(Listen.song)))
    if found is None:
        raise NotFound(f"You have no listen {listen_id}.")
    return found


def edit(db: Session, listener: str, listen_id: int, *, at: int | None, ended: str, learn: bool = True) -> Listen:
    """Change when a listen was, how it ended and whether it is learnt from; an undated one may stay undated (None)."""
    if ended not in get_args(Ended):
        raise BadInput(f"A listen ends as played or skipped, not {show(ended)}.")
    listen = own_listen(db, listener, listen_id)
    listen.listened_at, listen.ended, listen.learn = None if at is None else check_time(at), ended, learn
    try:
        db.flush()
    except IntegrityError:
        raise Conflict("That song is logged at that very second already.") from None
    return listen


def set_learn(db: Session, listener: str, listen_id: int, learn: bool) -> None:
    """Learn, or do not learn, from one of a listener's own listens. Raises NotFound."""
    own_listen(db, listener, listen_id).learn = learn


def remove(db: Session, listener: str, listen_id: int) -> Listen:
    """Delete one of a listener's own listens; returns what it was."""
    listen = own_listen(db, listener, listen_id)
    db.delete(listen)
    return listen


def page(db: Session, listener: str, number: int = 1, size: int = 50) -> tuple[list[Listen], int]:
    """A page of one's listens, newest first and undated last, and how many there are."""
    mine = select(Listen).where(Listen.listener_id == listener)
    total = db.scalar(select(func.count()).select_from(mine.subquery())) or 0
    ordered = mine.order_by(Listen.listened_at.desc().nulls_last(), Listen.id.desc())
    offset = min(max(number - 1, 0), 10**9) * size
    return list(db.scalars(ordered.options(joinedload(Listen.song)).offset(offset).limit(size))), total


def songs_liked(db: Session, listener: str) -> int:
    """Different songs that a listener played (skips and what is not to be learnt from do not count)."""
    disliked = select(Feedback.song_id).where(Feedback.listener_id == listener, Feedback.verdict == "dislike")
    played = select(func.count(func.distinct(Listen.song_id))).where(
        Listen.listener_id == listener, Listen.ended == "played", Listen.learn, Listen.song_id.not_in(disliked)
    )
    return db.scalar(played) or 0


def anybody_with(db: Session, songs: int) -> bool:
    """Whether some listener played that many different songs."""
    many = select(Listen.listener_id).where(Listen.ended == "played", Listen.learn).group_by(Listen.listener_id)
    return db.scalar(many.having(func.count(func.distinct(Listen.song_id)) >= songs).limit(1)) is not None


# -- feedback ---------------------------------------------------------------------------------------


def say(db: Session, listener: str, song_id: int, verdict: str) -> str:
    """Note what a listener thinks of a song; "clear" takes it back.

    Returns what undoes it: the verdict before, or "clear". Raises BadInput or NotFound.
    """
    song = catalogue.song(db, song_id)
    before = verdicts(db, listener).get(song.id, "clear")
    if verdict == "clear":
        db.execute(delete(Feedback).where(Feedback.listener_id == listener, Feedback.song_id == song.id))
        return before
    if verdict not in get_args(Verdict):
        raise BadInput(f"Feedback is love, dislike, not_now, know or clear, not {show(verdict)}.")
    values = {
        "verdict": verdict,
        "until": now() + _NOT_NOW_DAYS * 86_400 if verdict == "not_now" else None,
        "created_at": now(),
        "import_id": None,  # what a listener says later is no import's any more
    }
    insert = sqlite_insert if db.get_bind().dialect.name == "sqlite" else postgresql_insert
    statement = insert(Feedback).values(listener_id=listener, song_id=song.id, **values)
    db.execute(statement.on_conflict_do_update(index_elements=["listener_id", "song_id"], set_=values))
    return before


def verdicts(db: Session, listener: str) -> dict[int, str]:
    """What a listener said of songs, "not now" only while it lasts."""
    rows = db.execute(
        select(Feedback.song_id, Feedback.verdict, Feedback.until).where(Feedback.listener_id == listener)
    )
    return {song: verdict for song, verdict, until in rows if until is None or until > now()}


# -- a newcomer's picks -----------------------------------------------------------------------------


def set_preferences(db: Session, listener: str, genres: list[str], artists: list[str]) -> None:
    """Replace a listener's picks of liked genres and favourite artists (already cleaned, no repeats needed)."""
    alone(db, listener)
    db.execute(delete(Preference).where(Preference.listener_id == listener))
    for kind, values in (("genre", genres), ("artist", artists)):
        for value in dict.fromkeys(values):
            db.add(Preference(listener_id=listener, kind=kind, value=value))


def preferences(db: Session, listener: str) -> tuple[list[str], list[str]]:
    """A listener's liked genres and favourite artists."""
    rows = db.scalars(select(Preference).where(Preference.listener_id == listener).order_by(Preference.value)).all()
    return [r.value for r in rows if r.kind == "genre"], [r.value for r in rows if r.kind == "artist"]
