"""how often anything was changed that lists are made of"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0080'
down_revision = '0070'
branch_labels = None
depends_on = None

# What services/recommending.py reads. A revision that rebuilds one of these keeps its triggers; a test holds both true.
TABLES = ('artists', 'circle_members', 'circle_versions', 'feedback', 'hidden_artists', 'listeners', 'listens',
          'preferences', 'songs')
# SQLite counts by itself what these get (sqlite_sequence), so that many rows at once pay for no trigger.
COUNTED = ('listens', 'songs')
ONE_MORE = (
    'INSERT INTO list_changes(id, number) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET number = list_changes.number + 1'
)


def _triggers() -> list[tuple[str, str, str]]:
    return [
        (f'list_changes_{table}_{what.lower()}', what, table)
        for table in TABLES for what in ('INSERT', 'UPDATE', 'DELETE') if what != 'INSERT' or table not in COUNTED
    ]


def upgrade() -> None:
    op.create_table('list_changes',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_list_changes'))
    )
    if op.get_bind().dialect.name == 'sqlite':
        for name, what, table in _triggers():
            op.execute(sa.text(f'CREATE TRIGGER {name} AFTER {what} ON {table} BEGIN {ONE_MORE}; END'))


def downgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        for name, _, _ in _triggers():
            op.execute(sa.text(f'DROP TRIGGER {name}'))
    op.drop_table('list_changes')
