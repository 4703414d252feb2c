"""the circle's adapter: who opted in, its versions, whom each learnt from, and jobs that train it"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0060'
down_revision = '0040'
branch_labels = None
depends_on = None

RUNNING = "state IN ('running', 'evaluated')"
CIRCLE = (
    ('uq_jobs_circle_queued', "kind = 'circle' AND state = 'queued'"),
    ('uq_jobs_circle_running', f"kind = 'circle' AND {RUNNING}"),
)


def _unique(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, 'jobs', columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def upgrade() -> None:
    op.execute(sa.text("ALTER TABLE listeners ADD COLUMN in_circle BOOLEAN DEFAULT false NOT NULL"))
    op.execute(sa.text(
        "ALTER TABLE jobs ADD COLUMN kind VARCHAR DEFAULT 'taste' NOT NULL "
        "CONSTRAINT ck_jobs_kind CHECK (kind IN ('taste', 'circle'))"
    ))
    op.drop_index('uq_jobs_queued', 'jobs')
    op.drop_index('uq_jobs_running', 'jobs')
    _unique('uq_jobs_queued', ['listener_id', 'kind'], "state = 'queued'")
    _unique('uq_jobs_running', ['listener_id', 'kind'], RUNNING)
    for name, where in CIRCLE:
        _unique(name, ['kind'], where)
    op.create_table('circle_versions',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('members', sa.BigInteger(), nullable=False),
    sa.Column('promoted', sa.Boolean(), nullable=False),
    sa.Column('why', sa.String(), nullable=False),
    sa.Column('base_fingerprint', sa.String(length=64), nullable=False),
    sa.Column('before', sa.JSON(), nullable=False),
    sa.Column('after', sa.JSON(), nullable=False),
    sa.Column('difference', sa.Double(), nullable=False),
    sa.Column('low', sa.Double(), nullable=False),
    sa.Column('high', sa.Double(), nullable=False),
    sa.Column('learnt_from', sa.BigInteger(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('seconds', sa.Double(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_circle_versions'))
    )
    op.create_table('circle_members',
    sa.Column('version_id', sa.String(length=16), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_circle_members_listener_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['version_id'], ['circle_versions.id'], name=op.f('fk_circle_members_version_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('version_id', 'listener_id', name=op.f('pk_circle_members'))
    )
    op.create_index('ix_circle_members_listener_id', 'circle_members', ['listener_id'])


def downgrade() -> None:
    op.drop_table('circle_members')
    op.drop_table('circle_versions')
    op.execute(sa.text("DELETE FROM jobs WHERE kind = 'circle'"))
    for name, _ in (*CIRCLE, ('uq_jobs_running', ''), ('uq_jobs_queued', '')):
        op.drop_index(name, 'jobs')
    op.execute(sa.text("ALTER TABLE jobs DROP COLUMN kind"))
    op.execute(sa.text("ALTER TABLE listeners DROP COLUMN in_circle"))
    _unique('uq_jobs_queued', ['listener_id'], "state = 'queued'")
    _unique('uq_jobs_running', ['listener_id'], RUNNING)
