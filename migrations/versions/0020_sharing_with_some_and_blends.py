"""sharing with chosen friends; blends and who agreed to them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0020'
down_revision = '0060'
branch_labels = None
depends_on = None


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _sharing(values: str) -> None:
    """Change what the column may hold. SQLite cannot change a constraint, and a rebuilt table would take the rows that
    refer to it along: so a new column takes the old one's place."""
    check = f"CONSTRAINT ck_listeners_sharing CHECK (sharing IN ({values}))"
    if not _is_sqlite():
        op.execute(sa.text("ALTER TABLE listeners DROP CONSTRAINT ck_listeners_sharing"))
        op.execute(sa.text(f"ALTER TABLE listeners ADD {check}"))
        return
    op.execute(sa.text("ALTER TABLE listeners RENAME COLUMN sharing TO sharing_before"))
    op.execute(sa.text(f"ALTER TABLE listeners ADD COLUMN sharing VARCHAR DEFAULT 'off' NOT NULL {check}"))
    op.execute(sa.text("UPDATE listeners SET sharing = sharing_before"))
    op.execute(sa.text("ALTER TABLE listeners DROP COLUMN sharing_before"))


def upgrade() -> None:
    _sharing("'off', 'circle', 'friends'")
    op.create_table('shares',
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('friend_id', sa.String(length=16), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_shares_listener_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['friend_id'], ['listeners.id'], name=op.f('fk_shares_friend_id'), ondelete='CASCADE'),
    sa.CheckConstraint('listener_id <> friend_id', name=op.f('ck_shares_another')),
    sa.PrimaryKeyConstraint('listener_id', 'friend_id', name=op.f('pk_shares'))
    )
    op.create_index('ix_shares_friend_id', 'shares', ['friend_id'])
    op.create_table('blends',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('made_by', sa.String(length=16), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['made_by'], ['listeners.id'], name=op.f('fk_blends_made_by'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_blends'))
    )
    op.create_index('ix_blends_made_by', 'blends', ['made_by'])
    op.create_table('blend_members',
    sa.Column('blend_id', sa.String(length=16), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('agreed_at', sa.BigInteger(), nullable=True),
    sa.Column('weight', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['blend_id'], ['blends.id'], name=op.f('fk_blend_members_blend_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_blend_members_listener_id'), ondelete='CASCADE'),
    sa.CheckConstraint('weight BETWEEN 1 AND 9', name=op.f('ck_blend_members_weight')),
    sa.PrimaryKeyConstraint('blend_id', 'listener_id', name=op.f('pk_blend_members'))
    )
    op.create_index('ix_blend_members_listener_id', 'blend_members', ['listener_id'])


def downgrade() -> None:
    for table in ('blend_members', 'blends', 'shares'):
        op.drop_table(table)
    op.execute(sa.text("UPDATE listeners SET sharing = 'off' WHERE sharing = 'friends'"))
    _sharing("'off', 'circle'")
