"""Artists whom a listener wants in no list."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db import alone
from app.errors import NotFound
from app.services import browsing
from app.services.text import artist_key, clean
from app.tables import HiddenArtist, Song


def hide(db: Session, listener: str, artist: str) -> HiddenArtist:
    """No list shows this artist (a name or a key) any more. Hiding twice is hiding once. Raises BadInput, NotFound."""
    alone(db, listener)
    facts = browsing.artist(db, clean(artist, "The artist"))
    return db.merge(HiddenArtist(listener_id=listener, artist_key=facts.key, name=facts.name))


def show_again(db: Session, listener: str, artist: str) -> None:
    """Take the hiding back. Raises NotFound for an artist who is not hidden."""
    said = clean(artist, "The artist")
    for key in (said, artist_key(said)):  # a key, or else a name
        mine = (HiddenArtist.listener_id == listener, HiddenArtist.artist_key == key)
        if db.scalar(select(HiddenArtist.name).where(*mine)) is not None:
            db.execute(delete(HiddenArtist).where(*mine))
            return
    raise NotFound("This artist is not hidden.")


def hidden(db: Session, listener: str) -> Sequence[HiddenArtist]:
    """A listener's hidden artists by name."""
    mine = select(HiddenArtist).where(HiddenArtist.listener_id == listener)
    return db.scalars(mine.order_by(HiddenArtist.artist_key)).all()


def hidden_songs(db: Session, listener: str) -> set[int]:
    """Every song of the hidden artists."""
    keys = select(HiddenArtist.artist_key).where(HiddenArtist.listener_id == listener)
    return set(db.scalars(select(Song.id).where(Song.artist_key.in_(keys))))
