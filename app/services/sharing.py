"""Rule: whose plays a listener may see."""

from __future__ import annotations

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from app.services.text import fold
from app.tables import Listener


def visible(listener_id: str) -> Select[str]:
    """Ids of those whose plays a listener may see: their own, and of everyone who shares with the circle."""
    return select(Listener.id).where(or_(Listener.id == listener_id, Listener.sharing == "circle"))


def visible_by_name(db: Session, listener_id: str, name: str) -> Listener | None:
    """The listener of that name if their plays may be seen; None also if there is nobody of that name."""
    key = fold(name.encode("utf-8", "replace").decode()).replace("\x00", "\ufffd")
    return db.scalar(select(Listener).where(Listener.name_key == key, Listener.id.in_(visible(listener_id))))
