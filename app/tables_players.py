"""The tables of players: their tokens, what is playing, and MusicBrainz' word on songs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.tables import Table, new_id, now


class ApiToken(Table):
    """A device's or program's way in, for one listener; only hashes are kept.

    ``scopes`` is what it may do: "submit", "read", or both. ``session_hash`` is of the session key that Audioscrobbler
    clients make of name and token by themselves.
    """

    __tablename__ = "api_tokens"
    __table_args__ = (
        CheckConstraint("scopes IN ('submit', 'read', 'submit read')", name="scopes"),
        Index("uq_api_tokens_listener_id_name", "listener_id", "name", unique=True),
    )
    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    listener_id: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"))
    name: Mapped[str]
    scopes: Mapped[str]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    session_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[int] = mapped_column(default=now)
    used_at: Mapped[int | None]


class AuthRequest(Table):
    """A program that waits for a listener's approval (Audioscrobbler's getToken); ``listener_id`` once it has it."""

    __tablename__ = "auth_requests"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[int]
    listener_id: Mapped[str | None] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(default="")
    scopes: Mapped[str] = mapped_column(default="submit")


class NowPlaying(Table):
    """What a listener's player says is playing; over at ``until`` at the latest."""

    __tablename__ = "now_playing"
    listener_id: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True)
    artist: Mapped[str]
    title: Mapped[str]
    album: Mapped[str | None]
    duration_ms: Mapped[int | None]
    source: Mapped[str]
    since: Mapped[int] = mapped_column(default=now)
    until: Mapped[int]


class Recording(Table):
    """A MusicBrainz recording that is known to be a song; one song may have several."""

    __tablename__ = "recordings"
    mbid: Mapped[str] = mapped_column(String(36), primary_key=True)
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id", ondelete="CASCADE"), index=True)


class SongLookup(Table):
    """That MusicBrainz was asked for a song, and what it said (None: it knows no such song): asked once, kept."""

    __tablename__ = "song_lookups"
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id", ondelete="CASCADE"), primary_key=True)
    answer: Mapped[dict[str, Any] | None]
    asked_at: Mapped[int] = mapped_column(default=now)
