"""The tables of the circle's adapter: its versions, and whom each has learnt from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.tables import Table, now


class CircleVersion(Table):
    """One trained version of the circle's adapter; its files are adapters/<the circle's id>/<id>/.

    ``members``: how many it has learnt from. While not as many of them are still in the circle, it answers for nobody.
    """

    __tablename__ = "circle_versions"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    members: Mapped[int]
    promoted: Mapped[bool]
    why: Mapped[str]
    base_fingerprint: Mapped[str] = mapped_column(String(64))
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    difference: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    learnt_from: Mapped[int]
    size: Mapped[int]
    seconds: Mapped[float]
    created_at: Mapped[int] = mapped_column(default=now)


class CircleMember(Table):
    """A listener from whom a version of the circle's adapter has learnt."""

    __tablename__ = "circle_members"
    version_id: Mapped[str] = mapped_column(ForeignKey("circle_versions.id", ondelete="CASCADE"), primary_key=True)
    listener_id: Mapped[str] = mapped_column(
        ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True, index=True
    )
