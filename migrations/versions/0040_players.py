"""API tokens, what is playing, MusicBrainz recordings and look-ups"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0040'
down_revision = '0030'
branch_labels = None
depends_on = None


def _song() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('api_tokens',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('scopes', sa.String(), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('session_hash', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('used_at', sa.BigInteger(), nullable=True),
    sa.CheckConstraint("scopes IN ('submit', 'read', 'submit read')", name=op.f('ck_api_tokens_scopes')),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_api_tokens_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_tokens')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_api_tokens_token_hash')),
    sa.UniqueConstraint('session_hash', name=op.f('uq_api_tokens_session_hash'))
    )
    op.create_index('uq_api_tokens_listener_id_name', 'api_tokens', ['listener_id', 'name'], unique=True)
    op.create_table('auth_requests',
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=True),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('scopes', sa.String(), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_auth_requests_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('token_hash', name=op.f('pk_auth_requests'))
    )
    op.create_table('now_playing',
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('artist', sa.String(), nullable=False),
    sa.Column('title', sa.String(), nullable=False),
    sa.Column('album', sa.String(), nullable=True),
    sa.Column('duration_ms', sa.BigInteger(), nullable=True),
    sa.Column('source', sa.String(), nullable=False),
    sa.Column('since', sa.BigInteger(), nullable=False),
    sa.Column('until', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_now_playing_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('listener_id', name=op.f('pk_now_playing'))
    )
    op.create_table('recordings',
    sa.Column('mbid', sa.String(length=36), nullable=False),
    sa.Column('song_id', _song(), nullable=False),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_recordings_song_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('mbid', name=op.f('pk_recordings'))
    )
    op.create_index('ix_recordings_song_id', 'recordings', ['song_id'])
    op.create_table('song_lookups',
    sa.Column('song_id', _song(), nullable=False),
    sa.Column('answer', sa.JSON(), nullable=True),
    sa.Column('asked_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_song_lookups_song_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('song_id', name=op.f('pk_song_lookups'))
    )


def downgrade() -> None:
    op.drop_table('song_lookups')
    op.drop_table('recordings')
    op.drop_table('now_playing')
    op.drop_table('auth_requests')
    op.drop_table('api_tokens')
