"""The tables of imports: each import, plays that repeat another source's, counts before an import."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.tables import Table, new_id, now

ID = BigInteger().with_variant(Integer(), "sqlite")


class SoftDuplicate(Table):
    """A play that another source told already (the listen ``repeats_id``): kept as it came, but it does not count."""

    __tablename__ = "soft_duplicates"
    __table_args__ = (
        Index("uq_soft_duplicates", "listener_id", "song_id", "listened_at", unique=True),
        CheckConstraint("ended IN ('played', 'skipped')", name="ended"),
    )
    id: Mapped[int] = mapped_column(ID, primary_key=True)
    listener_id: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"))
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id"), index=True)
    listened_at: Mapped[int]
    ended: Mapped[str]
    source: Mapped[str]
    album: Mapped[str | None]
    duration_ms: Mapped[int | None]
    played_ms: Mapped[int | None]
    rating: Mapped[float | None]
    import_id: Mapped[str | None] = mapped_column(ForeignKey("imports.id", ondelete="CASCADE"), index=True)
    repeats_id: Mapped[int | None] = mapped_column(ForeignKey("listens.id", ondelete="SET NULL"), index=True)


class Import(Table):
    """One import: its files, how far it is, what became of its rows, and what it brought besides listens.

    ``way`` is how it came (web, shell, api); ``step`` of ``of`` rows are done. A dead process's lease runs out.
    """

    __tablename__ = "imports"
    __table_args__ = (
        CheckConstraint(
            "state IN ('reading', 'ready', 'running', 'stopped', 'encoding', 'done', 'failed', 'undone')", name="state"
        ),
    )
    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    listener_id: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(default="reading")
    way: Mapped[str] = mapped_column(default="web")
    name: Mapped[str] = mapped_column(default="")
    files: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    shift_minutes: Mapped[int] = mapped_column(default=0)
    step: Mapped[int] = mapped_column(default=0)
    of: Mapped[int] = mapped_column(default=0)
    preview: Mapped[dict[str, Any]] = mapped_column(default=dict)
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    report_bytes: Mapped[int] = mapped_column(default=0)
    brought: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str] = mapped_column(default="")
    stop_asked: Mapped[bool] = mapped_column(default=False)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[int | None]
    created_at: Mapped[int] = mapped_column(default=now)
    finished_at: Mapped[int | None]


class UndatedPlays(Table):
    """What an import made of an undated listen's count, so that undoing it can give back what was ``before``."""

    __tablename__ = "undated_plays"
    import_id: Mapped[str] = mapped_column(ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True)
    listen_id: Mapped[int] = mapped_column(ForeignKey("listens.id", ondelete="CASCADE"), primary_key=True, index=True)
    before: Mapped[int | None]
    before_rating: Mapped[float | None]
    counted: Mapped[int]
