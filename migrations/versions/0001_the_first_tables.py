"""the first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

# The trigram index over songs.search_text, kept in step by triggers.
SEARCH = (
    "CREATE VIRTUAL TABLE song_search USING fts5("
    "search_text, content='songs', content_rowid='id', tokenize='trigram')",
    "CREATE TRIGGER song_search_insert AFTER INSERT ON songs BEGIN "
    "INSERT INTO song_search(rowid, search_text) VALUES (new.id, new.search_text); END",
    "CREATE TRIGGER song_search_delete AFTER DELETE ON songs BEGIN "
    "INSERT INTO song_search(song_search, rowid, search_text) VALUES ('delete', old.id, old.search_text); END",
    "CREATE TRIGGER song_search_update AFTER UPDATE OF search_text ON songs BEGIN "
    "INSERT INTO song_search(song_search, rowid, search_text) VALUES ('delete', old.id, old.search_text); "
    "INSERT INTO song_search(rowid, search_text) VALUES (new.id, new.search_text); END",
)


def upgrade() -> None:
    op.create_table('artists',
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('country', sa.String(length=2), nullable=True),
    sa.Column('active_from', sa.BigInteger(), nullable=True),
    sa.Column('active_to', sa.BigInteger(), nullable=True),
    sa.Column('genres', sa.JSON(), nullable=False),
    sa.Column('related', sa.JSON(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_artists'))
    )
    op.create_table('listeners',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('name_key', sa.String(), nullable=False),
    sa.Column('password_hash', sa.String(), nullable=True),
    sa.Column('is_admin', sa.Boolean(), nullable=False),
    sa.Column('time_zone', sa.String(), nullable=False),
    sa.Column('live_version', sa.String(length=16), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_listeners')),
    sa.UniqueConstraint('name_key', name=op.f('uq_listeners_name_key'))
    )
    op.create_table('songs',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('artist', sa.String(), nullable=False),
    sa.Column('title', sa.String(), nullable=False),
    sa.Column('artist_key', sa.String(), nullable=False),
    sa.Column('title_key', sa.String(), nullable=False),
    sa.Column('search_text', sa.String(), nullable=False),
    sa.Column('year', sa.BigInteger(), nullable=True),
    sa.Column('genres', sa.JSON(), nullable=False),
    sa.Column('moods', sa.JSON(), nullable=False),
    sa.Column('country', sa.String(length=2), nullable=True),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_songs'))
    )
    with op.batch_alter_table('songs', schema=None) as batch_op:
        batch_op.create_index('uq_songs_artist_key_title_key', ['artist_key', 'title_key'], unique=True)

    op.create_table('adapter_versions',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('promoted', sa.Boolean(), nullable=False),
    sa.Column('why', sa.String(), nullable=False),
    sa.Column('base_fingerprint', sa.String(length=64), nullable=False),
    sa.Column('before', sa.JSON(), nullable=False),
    sa.Column('after', sa.JSON(), nullable=False),
    sa.Column('difference', sa.Double(), nullable=False),
    sa.Column('low', sa.Double(), nullable=False),
    sa.Column('high', sa.Double(), nullable=False),
    sa.Column('learnt_from', sa.BigInteger(), nullable=False),
    sa.Column('trainable_parameters', sa.BigInteger(), nullable=False),
    sa.Column('base_parameters', sa.BigInteger(), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('seconds', sa.Double(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_adapter_versions_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_adapter_versions'))
    )
    with op.batch_alter_table('adapter_versions', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_adapter_versions_listener_id'), ['listener_id'], unique=False)

    op.create_table('feedback',
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('song_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('verdict', sa.String(), nullable=False),
    sa.Column('until', sa.BigInteger(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.CheckConstraint("verdict IN ('love', 'dislike', 'not_now', 'know')", name=op.f('ck_feedback_verdict')),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_feedback_listener_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_feedback_song_id')),
    sa.PrimaryKeyConstraint('listener_id', 'song_id', name=op.f('pk_feedback'))
    )
    op.create_table('invites',
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('made_by', sa.String(length=16), nullable=True),
    sa.Column('for_listener', sa.String(length=16), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('used_at', sa.BigInteger(), nullable=True),
    sa.Column('used_by', sa.String(length=16), nullable=True),
    sa.ForeignKeyConstraint(['for_listener'], ['listeners.id'], name=op.f('fk_invites_for_listener'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['made_by'], ['listeners.id'], name=op.f('fk_invites_made_by'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['used_by'], ['listeners.id'], name=op.f('fk_invites_used_by'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('token_hash', name=op.f('pk_invites'))
    )
    op.create_table('jobs',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('version', sa.String(length=16), nullable=False),
    sa.Column('seed', sa.BigInteger(), nullable=False),
    sa.Column('phase', sa.String(), nullable=False),
    sa.Column('step', sa.BigInteger(), nullable=False),
    sa.Column('of', sa.BigInteger(), nullable=False),
    sa.Column('loss', sa.Double(), nullable=True),
    sa.Column('eta', sa.Double(), nullable=True),
    sa.Column('losses', sa.JSON(), nullable=False),
    sa.Column('error', sa.String(), nullable=False),
    sa.Column('attempts', sa.BigInteger(), nullable=False),
    sa.Column('cancel_asked', sa.Boolean(), nullable=False),
    sa.Column('lease_owner', sa.String(), nullable=True),
    sa.Column('lease_until', sa.BigInteger(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('started_at', sa.BigInteger(), nullable=True),
    sa.Column('finished_at', sa.BigInteger(), nullable=True),
    sa.CheckConstraint("state IN ('queued', 'running', 'evaluated', 'promoted', 'kept', 'failed', 'cancelled')", name=op.f('ck_jobs_state')),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_jobs_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_jobs'))
    )
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_jobs_listener_id'), ['listener_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_jobs_state'), ['state'], unique=False)
        batch_op.create_index('uq_jobs_queued', ['listener_id'], unique=True, sqlite_where=sa.text("state = 'queued'"), postgresql_where=sa.text("state = 'queued'"))
        batch_op.create_index('uq_jobs_running', ['listener_id'], unique=True, sqlite_where=sa.text("state IN ('running', 'evaluated')"), postgresql_where=sa.text("state IN ('running', 'evaluated')"))

    op.create_table('listens',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('song_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('listened_at', sa.BigInteger(), nullable=True),
    sa.Column('plays', sa.BigInteger(), nullable=False),
    sa.Column('rating', sa.Double(), nullable=True),
    sa.Column('ended', sa.String(), nullable=False),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.CheckConstraint("ended IN ('played', 'skipped')", name=op.f('ck_listens_ended')),
    sa.CheckConstraint('plays >= 1', name=op.f('ck_listens_plays')),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_listens_listener_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_listens_song_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_listens'))
    )
    with op.batch_alter_table('listens', schema=None) as batch_op:
        batch_op.create_index('ix_listens_listener_time', ['listener_id', 'listened_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_listens_song_id'), ['song_id'], unique=False)
        batch_op.create_index('uq_listens_dated', ['listener_id', 'song_id', 'listened_at'], unique=True, sqlite_where=sa.text('listened_at IS NOT NULL'), postgresql_where=sa.text('listened_at IS NOT NULL'))
        batch_op.create_index('uq_listens_undated', ['listener_id', 'song_id'], unique=True, sqlite_where=sa.text('listened_at IS NULL'), postgresql_where=sa.text('listened_at IS NULL'))

    op.create_table('preferences',
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('value', sa.String(), nullable=False),
    sa.CheckConstraint("kind IN ('genre', 'artist')", name=op.f('ck_preferences_kind')),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_preferences_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('listener_id', 'kind', 'value', name=op.f('pk_preferences'))
    )
    op.create_table('sessions',
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('seen_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('agent', sa.String(), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_sessions_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('token_hash', name=op.f('pk_sessions'))
    )
    with op.batch_alter_table('sessions', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_sessions_listener_id'), ['listener_id'], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for statement in SEARCH:
            op.execute(sa.text(statement))


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(sa.text("DROP TABLE song_search"))
    with op.batch_alter_table('sessions', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_sessions_listener_id'))

    op.drop_table('sessions')
    op.drop_table('preferences')
    with op.batch_alter_table('listens', schema=None) as batch_op:
        batch_op.drop_index('uq_listens_undated', sqlite_where=sa.text('listened_at IS NULL'), postgresql_where=sa.text('listened_at IS NULL'))
        batch_op.drop_index('uq_listens_dated', sqlite_where=sa.text('listened_at IS NOT NULL'), postgresql_where=sa.text('listened_at IS NOT NULL'))
        batch_op.drop_index(batch_op.f('ix_listens_song_id'))
        batch_op.drop_index('ix_listens_listener_time')

    op.drop_table('listens')
    with op.batch_alter_table('jobs', schema=None) as batch_op:
        batch_op.drop_index('uq_jobs_running', sqlite_where=sa.text("state IN ('running', 'evaluated')"), postgresql_where=sa.text("state IN ('running', 'evaluated')"))
        batch_op.drop_index('uq_jobs_queued', sqlite_where=sa.text("state = 'queued'"), postgresql_where=sa.text("state = 'queued'"))
        batch_op.drop_index(batch_op.f('ix_jobs_state'))
        batch_op.drop_index(batch_op.f('ix_jobs_listener_id'))

    op.drop_table('jobs')
    op.drop_table('invites')
    op.drop_table('feedback')
    with op.batch_alter_table('adapter_versions', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_adapter_versions_listener_id'))

    op.drop_table('adapter_versions')
    with op.batch_alter_table('songs', schema=None) as batch_op:
        batch_op.drop_index('uq_songs_artist_key_title_key')

    op.drop_table('songs')
    op.drop_table('listeners')
    op.drop_table('artists')
