"""Lists are kept: what was asked, what was shown, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.db import alone
from app.errors import NotFound
from app.services import catalogue
from app.services.text import is_id, show
from app.tables import Feedback, KeptList, KeptSong, Listen, Song, now

# Within this time the same question is the same list: feedback then brings songs in, and nothing shown is lost.
_SAME_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Came:
    """What came of one song of a list since it was made: plays, and the verdict if one was given."""

    song: Song
    plays: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One list in an overview: how many songs it showed, and how many were played, loved and disliked since."""

    list: KeptList
    songs: int
    played: int
    loved: int
    disliked: int


def keep(
    db: Session, listener: str, *, mode: str, wish: str, adventure: int, version: str | None, songs: Sequence[int]
) -> KeptList:
    """Note a list that is shown; the same question asked again soon adds what is new to the same list."""
    alone(db, listener)
    kept, there, fresh = _compared(db, listener, mode, wish, adventure, version, songs)
    if kept is None:
        kept = KeptList(listener_id=listener, mode=mode, wish=wish, adventure=adventure, version=version)
        db.add(kept)
        db.flush()
    db.add_all(KeptSong(list_id=kept.id, song_id=song, place=there + n + 1) for n, song in enumerate(fresh))
    return kept


def as_it_stands(
    db: Session, listener: str, *, mode: str, wish: str, adventure: int, version: str | None, songs: Sequence[int]
) -> KeptList | None:
    """The list that ``keep`` would give, if it would have nothing to write."""
    kept, _, fresh = _compared(db, listener, mode, wish, adventure, version, songs)
    return None if fresh else kept


def _compared(
    db: Session, listener: str, mode: str, wish: str, adventure: int, version: str | None, songs: Sequence[int]
) -> tuple[KeptList | None, int, list[int]]:
    """The same question's list, if there is one; how many songs it has; which are not in it yet."""
    same = select(KeptList).where(
        KeptList.listener_id == listener, KeptList.mode == mode, KeptList.wish == wish,
        KeptList.adventure == adventure, KeptList.version.is_not_distinct_from(version),
        KeptList.created_at > now() - _SAME_SECONDS,
    )  # fmt: skip
    kept = db.scalar(same.order_by(KeptList.created_at.desc()).limit(1))
    there = set(db.scalars(select(KeptSong.song_id).where(KeptSong.list_id == kept.id))) if kept else set()
    return kept, len(there), [song for song in dict.fromkeys(songs) if song not in there]


def latest(db: Session, listener: str, mode: str, wish: str, adventure: int) -> KeptList | None:
    """The newest list for a question."""
    asked = select(KeptList).where(
        KeptList.listener_id == listener, KeptList.mode == mode, KeptList.wish == wish, KeptList.adventure == adventure
    )
    return db.scalar(asked.order_by(KeptList.created_at.desc()).limit(1))


def own(db: Session, listener: str, list_id: str) -> KeptList:
    """A listener's own list. Raises NotFound, also for somebody else's."""
    found = db.get(KeptList, list_id) if is_id(list_id) else None
    if found is None or found.listener_id != listener:
        raise NotFound(f"You have no list {show(list_id)}.")
    return found


def remove(db: Session, listener: str, list_id: str) -> None:
    """Forget a list; plays and verdicts stay."""
    kept = own(db, listener, list_id)
    db.execute(delete(KeptSong).where(KeptSong.list_id == kept.id))
    db.delete(kept)


def opened(db: Session, kept: KeptList) -> list[Came]:
    """The songs of a list in their order, with what came of each since."""
    played = (
        select(Listen.song_id, func.sum(Listen.plays))
        .join(KeptSong, and_(KeptSong.song_id == Listen.song_id, KeptSong.list_id == kept.id))
        .where(Listen.listener_id == kept.listener_id, *_since(kept.created_at))
        .group_by(Listen.song_id)
    )
    plays = {song: int(count) for song, count in db.execute(played)}
    judged = (
        select(Feedback.song_id, Feedback.verdict)
        .join(KeptSong, and_(KeptSong.song_id == Feedback.song_id, KeptSong.list_id == kept.id))
        .where(Feedback.listener_id == kept.listener_id, Feedback.created_at >= kept.created_at)
    )
    said = {row.song_id: row.verdict for row in db.execute(judged)}
    order = db.scalars(select(KeptSong.song_id).where(KeptSong.list_id == kept.id).order_by(KeptSong.place)).all()
    songs = catalogue.songs(db, order)
    return [Came(songs[i], plays.get(i, 0), said.get(i, "")) for i in order if i in songs]


def _since(at: int | InstrumentedAttribute[int]) -> tuple[ColumnElement[bool], ...]:
    return Listen.ended == "played", Listen.listened_at >= at


def overview(db: Session, listener: str, most: int = 50) -> list[Outcome]:
    """A listener's newest lists with what came of them."""
    newest = select(KeptList).where(KeptList.listener_id == listener).order_by(KeptList.created_at.desc(), KeptList.id)
    lists = db.scalars(newest.limit(most)).all()
    shown = select(KeptSong.list_id, func.count()).where(KeptSong.list_id.in_([kept.id for kept in lists]))
    songs = {row[0]: int(row[1]) for row in db.execute(shown.group_by(KeptSong.list_id))}
    mine = shown.join(KeptList, KeptList.id == KeptSong.list_id).group_by(KeptSong.list_id)
    heard = and_(Listen.song_id == KeptSong.song_id, Listen.listener_id == listener, *_since(KeptList.created_at))
    played = mine.join(Listen, heard).with_only_columns(KeptSong.list_id, func.count(KeptSong.song_id.distinct()))
    plays = {row[0]: int(row[1]) for row in db.execute(played)}
    judged = and_(
        Feedback.song_id == KeptSong.song_id, Feedback.listener_id == listener,
        Feedback.created_at >= KeptList.created_at,
    )  # fmt: skip
    said = mine.join(Feedback, judged).with_only_columns(KeptSong.list_id, Feedback.verdict, func.count())
    verdicts = {(list_id, verdict): n for list_id, verdict, n in db.execute(said.group_by(Feedback.verdict))}
    return [
        Outcome(
            kept, songs.get(kept.id, 0), plays.get(kept.id, 0), verdicts.get((kept.id, "love"), 0),
            verdicts.get((kept.id, "dislike"), 0),
        )
        for kept in lists
    ]  # fmt: skip
