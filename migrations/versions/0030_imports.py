"""imports that can be reported and undone; what is known of a play; soft duplicates"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0030'
down_revision = '0010'
branch_labels = None
depends_on = None

# Plain ALTER TABLE: a batch would rebuild the tables and lose the triggers on them.
COLUMNS = (
    ("listens", "album", "VARCHAR"),
    ("listens", "duration_ms", "BIGINT"),
    ("listens", "played_ms", "BIGINT"),
)
BROUGHT = ("listens", "songs", "feedback")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('imports',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('way', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('files', sa.JSON(), nullable=False),
    sa.Column('shift_minutes', sa.BigInteger(), nullable=False),
    sa.Column('step', sa.BigInteger(), nullable=False),
    sa.Column('of', sa.BigInteger(), nullable=False),
    sa.Column('preview', sa.JSON(), nullable=False),
    sa.Column('report', sa.JSON(), nullable=False),
    sa.Column('report_bytes', sa.BigInteger(), nullable=False),
    sa.Column('brought', sa.JSON(), nullable=False),
    sa.Column('error', sa.String(), nullable=False),
    sa.Column('stop_asked', sa.Boolean(), nullable=False),
    sa.Column('lease_owner', sa.String(), nullable=True),
    sa.Column('lease_until', sa.BigInteger(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('finished_at', sa.BigInteger(), nullable=True),
    sa.CheckConstraint(
        "state IN ('reading', 'ready', 'running', 'stopped', 'encoding', 'done', 'failed', 'undone')",
        name=op.f('ck_imports_state')),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_imports_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_imports'))
    )
    op.create_index('ix_imports_listener_id', 'imports', ['listener_id'])
    for table, column, kind in COLUMNS:
        op.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN {column} {kind}"))
    for table in BROUGHT:
        op.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN import_id VARCHAR(16)"))
        op.create_index(f'ix_{table}_import_id', table, ['import_id'],
                        sqlite_where=sa.text('import_id IS NOT NULL'), postgresql_where=sa.text('import_id IS NOT NULL'))
    op.create_table('soft_duplicates',
    sa.Column('id', _id(), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('song_id', _id(), nullable=False),
    sa.Column('listened_at', sa.BigInteger(), nullable=False),
    sa.Column('ended', sa.String(), nullable=False),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('album', sa.String(), nullable=True),
    sa.Column('duration_ms', sa.BigInteger(), nullable=True),
    sa.Column('played_ms', sa.BigInteger(), nullable=True),
    sa.Column('rating', sa.Double(), nullable=True),
    sa.Column('import_id', sa.String(length=16), nullable=True),
    sa.Column('repeats_id', _id(), nullable=True),
    sa.CheckConstraint("ended IN ('played', 'skipped')", name=op.f('ck_soft_duplicates_ended')),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_soft_duplicates_listener_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_soft_duplicates_song_id')),
    sa.ForeignKeyConstraint(['import_id'], ['imports.id'], name=op.f('fk_soft_duplicates_import_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['repeats_id'], ['listens.id'], name=op.f('fk_soft_duplicates_repeats_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_soft_duplicates'))
    )
    op.create_index('uq_soft_duplicates', 'soft_duplicates', ['listener_id', 'song_id', 'listened_at'], unique=True)
    for column in ('song_id', 'import_id', 'repeats_id'):
        op.create_index(f'ix_soft_duplicates_{column}', 'soft_duplicates', [column])
    op.create_table('undated_plays',
    sa.Column('import_id', sa.String(length=16), nullable=False),
    sa.Column('listen_id', _id(), nullable=False),
    sa.Column('before', sa.BigInteger(), nullable=True),
    sa.Column('before_rating', sa.Double(), nullable=True),
    sa.Column('counted', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['import_id'], ['imports.id'], name=op.f('fk_undated_plays_import_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['listen_id'], ['listens.id'], name=op.f('fk_undated_plays_listen_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('import_id', 'listen_id', name=op.f('pk_undated_plays'))
    )
    op.create_index('ix_undated_plays_listen_id', 'undated_plays', ['listen_id'])


def downgrade() -> None:
    op.drop_table('undated_plays')
    op.drop_table('soft_duplicates')
    for table in BROUGHT:
        op.drop_index(f'ix_{table}_import_id', table)
        op.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN import_id"))
    for table, column, _ in COLUMNS:
        op.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {column}"))
    op.drop_table('imports')
