"""ids of songs and listens that are not given again"""

from __future__ import annotations

import re
from collections.abc import Callable

from alembic import op

revision = '0070'
down_revision = '0020'
branch_labels = None
depends_on = None

# PostgreSQL's sequences never give a number twice; SQLite's plain keys give the highest one again once its row is gone.
TABLES = ('songs', 'listens')
PLAIN, NEVER_AGAIN = '\tid INTEGER NOT NULL', '\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT'


def _never_again(table: str, sql: str) -> str:
    sql, keys = re.subn(rf',\s*CONSTRAINT pk_{table} PRIMARY KEY \(id\)', '', sql)
    assert keys == 1 and sql.count(PLAIN) == 1, sql
    return sql.replace(PLAIN, NEVER_AGAIN)


def _plain(table: str, sql: str) -> str:
    assert sql.count(NEVER_AGAIN) == 1 and sql.rstrip().endswith(')'), sql
    return sql.replace(NEVER_AGAIN, PLAIN).rstrip()[:-1].rstrip() + f', CONSTRAINT pk_{table} PRIMARY KEY (id))'


def _rebuild(table: str, change: Callable[[str, str], str]) -> None:
    """Put a changed table in the place of one: same rows and ids, and every index and trigger as it was.

    env.py has switched foreign keys off, so that what points to the rows neither goes with the old table nor minds.
    """
    db = op.get_bind()
    assert db.exec_driver_sql('PRAGMA foreign_keys').scalar() == 0
    (sql,) = db.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).one()
    around = "SELECT sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND tbl_name = ? AND sql IS NOT NULL"
    kept = list(db.exec_driver_sql(around, (table,)).scalars())
    columns = ', '.join(f'"{row[1]}"' for row in db.exec_driver_sql(f'PRAGMA table_info({table})'))
    named, names = re.subn(rf'^CREATE TABLE "?{table}"?', f'CREATE TABLE new_{table}', change(table, sql))
    assert names == 1, sql
    db.exec_driver_sql(named)
    db.exec_driver_sql(f'INSERT INTO new_{table} ({columns}) SELECT {columns} FROM {table} ORDER BY id')
    db.exec_driver_sql(f'DROP TABLE {table}')
    db.exec_driver_sql(f'ALTER TABLE new_{table} RENAME TO {table}')
    for statement in kept:
        db.exec_driver_sql(statement)


def _rebuild_all(change: Callable[[str, str], str]) -> None:
    if op.get_bind().dialect.name != 'sqlite':
        return
    before = _pointing_nowhere()
    for table in TABLES:
        _rebuild(table, change)
    if _pointing_nowhere() != before:
        raise RuntimeError('rows lost what they point to; nothing was migrated')


def _pointing_nowhere() -> set[tuple[object, ...]]:
    return {tuple(row) for row in op.get_bind().exec_driver_sql('PRAGMA foreign_key_check')}


def upgrade() -> None:
    _rebuild_all(_never_again)


def downgrade() -> None:
    _rebuild_all(_plain)
