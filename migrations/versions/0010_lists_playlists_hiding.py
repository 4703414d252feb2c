"""kept lists, playlists, hidden artists, listens that are not learnt from"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0050'
branch_labels = None
depends_on = None

SONG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    # Plain ALTER TABLE: a batch would rebuild the table and lose the triggers on it.
    op.add_column('listens', sa.Column('learn', sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_table('hidden_artists',
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('artist_key', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_hidden_artists_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('listener_id', 'artist_key', name=op.f('pk_hidden_artists'))
    )
    op.create_table('kept_lists',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('mode', sa.String(), nullable=False),
    sa.Column('wish', sa.String(), nullable=False),
    sa.Column('adventure', sa.BigInteger(), nullable=False),
    sa.Column('version', sa.String(length=16), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_kept_lists_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_kept_lists'))
    )
    op.create_index('ix_kept_lists_listener_time', 'kept_lists', ['listener_id', 'created_at'])
    op.create_table('kept_songs',
    sa.Column('list_id', sa.String(length=16), nullable=False),
    sa.Column('song_id', SONG, nullable=False),
    sa.Column('place', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['list_id'], ['kept_lists.id'], name=op.f('fk_kept_songs_list_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_kept_songs_song_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('list_id', 'song_id', name=op.f('pk_kept_songs'))
    )
    op.create_index('ix_kept_songs_song_id', 'kept_songs', ['song_id'])
    op.create_table('playlists',
    sa.Column('id', sa.String(length=16), nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_playlists_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_playlists'))
    )
    op.create_index('ix_playlists_listener_id', 'playlists', ['listener_id'])
    op.create_table('playlist_songs',
    sa.Column('playlist_id', sa.String(length=16), nullable=False),
    sa.Column('song_id', SONG, nullable=False),
    sa.Column('listener_id', sa.String(length=16), nullable=False),
    sa.Column('place', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['playlist_id'], ['playlists.id'], name=op.f('fk_playlist_songs_playlist_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_playlist_songs_song_id')),
    sa.ForeignKeyConstraint(['listener_id'], ['listeners.id'], name=op.f('fk_playlist_songs_listener_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('playlist_id', 'song_id', name=op.f('pk_playlist_songs'))
    )
    op.create_index('ix_playlist_songs_song_id', 'playlist_songs', ['song_id'])
    op.create_index('ix_playlist_songs_listener_id', 'playlist_songs', ['listener_id'])


def downgrade() -> None:
    for table in ('playlist_songs', 'playlists', 'kept_songs', 'kept_lists', 'hidden_artists'):
        op.drop_table(table)
    op.execute(sa.text("ALTER TABLE listens DROP COLUMN learn"))
