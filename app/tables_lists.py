"""The table by which lists that were made are known to be of now."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from app.tables import Table


class ListChanges(Table):
    """One row: how often anything was changed that lists are made of. SQLite's triggers keep it; see revision 0080.

    New songs and listens are not in it but in SQLite's own count of them; ``Database.list_changes`` reads both.
    Progress of a retrain, sessions, kept lists and what is playing are not among it. PostgreSQL's table stays empty:
    there every writer would wait for the one row.
    """

    __tablename__ = "list_changes"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    number: Mapped[int]
