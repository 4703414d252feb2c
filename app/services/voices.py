"""Who speaks in a list for several people: a listener's own songs, and the adapter that answers for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from app.services import circle_adapter, history
from app.services.history import History
from app.services.recommending import EngineTypes
from app.tables import Listener

if TYPE_CHECKING:
    from app.lm.blending import Voice
    from app.lm.engine import Engine


def of(
    db: Session, engine: Engine, kinds: EngineTypes, listener: str, weight: float = 1.0, *, picks: bool = True
) -> tuple[Voice, History]:
    """A listener as a voice, and their history: through their own version, or the circle's while they have none."""
    row = db.get_one(Listener, listener)
    past = history.read(db, listener, kinds.song_text)
    own = past.own(db, kinds.song_text, kinds.own, picks=picks)
    if row.live_version is None and row.in_circle:
        return (engine.circle, circle_adapter.live_version(db, engine.fingerprint), own, weight), past
    return (listener, row.live_version, own, weight), past
