"""May one listener see what another played? Everything that shows somebody's listens asks here, and nowhere else."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Select, delete, or_, select
from sqlalchemy.orm import Session

from app.db import alone
from app.errors import BadInput, NotFound
from app.services.text import fold, is_id, show
from app.tables import Listener
from app.tables_sharing import Share

OFF, CIRCLE, FRIENDS = "off", "circle", "friends"
CHOICES = (OFF, CIRCLE, FRIENDS)


def visible(viewer: str) -> Select[str]:
    """Ids of those whose listens a listener may see: their own, and whoever shares with the circle or with them.

    To be put into a query: ``Listen.listener_id.in_(sharing.visible(viewer))``.
    """
    named = select(Share.listener_id).where(Share.friend_id == viewer)
    return select(Listener.id).where(
        or_(
            Listener.id == viewer,
            Listener.sharing == CIRCLE,
            (Listener.sharing == FRIENDS) & Listener.id.in_(named),
        )
    )


def may_see(db: Session, viewer: str, owner: str) -> bool:
    """Whether ``viewer`` may see what ``owner`` played."""
    return db.scalar(visible(viewer).where(Listener.id == owner)) is not None


def seen(db: Session, viewer: str, owner: str) -> Listener:
    """The listener behind an id, if their listens may be seen. Raises NotFound: who may not see learns nothing."""
    found = None
    if is_id(owner):
        found = db.scalar(select(Listener).where(Listener.id == owner, Listener.id.in_(visible(viewer))))
    if found is None:
        raise NotFound("There is nobody here who shares with you under that address.")
    return found


def shared_with(db: Session, listener: str) -> set[str]:
    """Ids of the friends whom a listener named, also while their choice is another."""
    return set(db.scalars(select(Share.friend_id).where(Share.listener_id == listener)))


def share(db: Session, listener: str, choice: str, friends: Collection[str] | None = None) -> None:
    """Set who may see: "off", "circle" or "friends", and (unless None) which friends. Raises BadInput."""
    if choice not in CHOICES:
        raise BadInput(f"Sharing is off, circle or friends, not {show(choice)}.")
    alone(db, listener)
    db.get_one(Listener, listener).sharing = choice
    if friends is None:
        return
    wanted = set(friends) - {listener}
    if odd := [friend for friend in wanted if not is_id(friend)]:
        raise BadInput(f"There is no listener {show(odd[0])} to share with.")
    there = set(db.scalars(select(Listener.id).where(Listener.id.in_(wanted))))
    if missing := wanted - there:
        raise BadInput(f"There is no listener {show(sorted(missing)[0])} to share with.")
    db.execute(delete(Share).where(Share.listener_id == listener, Share.friend_id.not_in(there)))
    for friend in there - shared_with(db, listener):
        db.add(Share(listener_id=listener, friend_id=friend))
    db.flush()


def visible_by_name(db: Session, viewer: str, name: str) -> Listener | None:
    """The listener of that name if their plays may be seen; None also if there is nobody of that name."""
    key = fold(name.encode("utf-8", "replace").decode()).replace("\x00", "\ufffd")
    return db.scalar(select(Listener).where(Listener.name_key == key, Listener.id.in_(visible(viewer))))
