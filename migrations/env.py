"""Alembic's entry: runs our revisions on the database that the caller names."""

from __future__ import annotations

from alembic import context

from app import tables_circle, tables_imports, tables_lists, tables_players, tables_sharing  # noqa: F401 (metadata)
from app.db import Database
from app.settings import Settings
from app.tables import Table

url = context.config.attributes.get("url") or Settings().url
database = Database(url)
# "immediate" takes SQLite's write lock at BEGIN: two processes that start at once migrate one after the other.
with database.engine.connect().execution_options(immediate=True) as connection:
    if database.is_sqlite:
        # A table that is rebuilt is dropped first, and what points to its rows must stay. Within a transaction SQLite
        # ignores this, so it is said before the first begins. A revision that rebuilds checks what it leaves.
        connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
    else:
        connection.exec_driver_sql("SELECT pg_advisory_lock(40014001)")  # the same; given back with the connection
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        render_as_batch=True,
        # One transaction for all: SQLite can, though Alembic does not expect it, since db.py says BEGIN itself.
        # Otherwise a second process could come in between two revisions.
        transactional_ddl=True,
        transaction_per_migration=False,
        include_object=lambda _o, name, kind, *_: not (
            kind in ("table", "index") and str(name).startswith("song_search")
        ),
    )
    with context.begin_transaction():
        context.run_migrations()
database.close()
