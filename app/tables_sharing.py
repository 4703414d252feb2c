"""The tables of sharing: whom a listener shares with by name, and blends with who agreed to them."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.tables import Table, new_id, now


class Share(Table):
    """A friend whom a listener lets see what they played; counts while their ``sharing`` is "friends"."""

    __tablename__ = "shares"
    __table_args__ = (CheckConstraint("listener_id <> friend_id", name="another"),)
    listener_id: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True)
    friend_id: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True, index=True)


class Blend(Table):
    """A list for several people. It is made of nobody who has not agreed (``BlendMember.agreed_at``)."""

    __tablename__ = "blends"
    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    made_by: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(default="")
    created_at: Mapped[int] = mapped_column(default=now)


class BlendMember(Table):
    """One person of a blend: when they agreed (None: asked, no answer yet) and how much they count, 1 to 9."""

    __tablename__ = "blend_members"
    __table_args__ = (CheckConstraint("weight BETWEEN 1 AND 9", name="weight"),)
    blend_id: Mapped[str] = mapped_column(ForeignKey("blends.id", ondelete="CASCADE"), primary_key=True)
    listener_id: Mapped[str] = mapped_column(
        ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    agreed_at: Mapped[int | None]
    weight: Mapped[int] = mapped_column(default=1)
