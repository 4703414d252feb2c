"""genres that are looked up, inferred and edited; sharing; search text with outer spaces"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

# Plain ALTER TABLE: a batch would rebuild the tables and lose the triggers on them.
COLUMNS = (
    ("songs", "genres_from", "'given'", "'given', 'inferred', 'listener'"),
    ("listeners", "sharing", "'off'", "'off', 'circle'"),
)

ON_SQLITE = (
    "CREATE TRIGGER song_genres_insert AFTER INSERT ON songs BEGIN "
    "INSERT OR IGNORE INTO song_genres(genre, song_id) SELECT value, new.id FROM json_each(new.genres); END",
    "CREATE TRIGGER song_genres_update AFTER UPDATE OF genres ON songs BEGIN "
    "DELETE FROM song_genres WHERE song_id = new.id; "
    "INSERT OR IGNORE INTO song_genres(genre, song_id) SELECT value, new.id FROM json_each(new.genres); END",
)
ON_POSTGRESQL = (
    "CREATE FUNCTION song_genres_follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "DELETE FROM song_genres WHERE song_id = new.id; "
    "INSERT INTO song_genres(genre, song_id) SELECT DISTINCT value, new.id FROM json_array_elements_text(new.genres); "
    "RETURN NULL; END $$",
    "CREATE TRIGGER song_genres_insert AFTER INSERT ON songs FOR EACH ROW EXECUTE FUNCTION song_genres_follow()",
    "CREATE TRIGGER song_genres_update AFTER UPDATE OF genres ON songs "
    "FOR EACH ROW EXECUTE FUNCTION song_genres_follow()",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX song_search_trigrams ON songs USING gin (search_text gin_trgm_ops)",
)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def upgrade() -> None:
    for table, column, default, values in COLUMNS:
        op.execute(sa.text(
            f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR DEFAULT {default} NOT NULL "
            f"CONSTRAINT ck_{table}_{column} CHECK ({column} IN ({values}))"
        ))
    op.create_index('ix_songs_title_key', 'songs', ['title_key'])
    op.create_index('ix_songs_year', 'songs', ['year'])
    op.create_table('song_genres',
    sa.Column('genre', sa.String(), nullable=False),
    sa.Column('song_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_song_genres_song_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('genre', 'song_id', name=op.f('pk_song_genres'))
    )
    op.create_index('ix_song_genres_song_id', 'song_genres', ['song_id'])
    each = "json_each(songs.genres)" if _is_sqlite() else "json_array_elements_text(songs.genres) AS each(value)"
    op.execute(sa.text(f"INSERT INTO song_genres(genre, song_id) SELECT DISTINCT value, songs.id FROM songs, {each}"))
    for statement in ON_SQLITE if _is_sqlite() else ON_POSTGRESQL:
        op.execute(sa.text(statement.replace(":", "\\:")))
    # With a space at either end, every word begins and ends with a trigram of its own.
    op.execute(sa.text("UPDATE songs SET search_text = ' ' || trim(search_text) || ' '"))


def downgrade() -> None:
    op.execute(sa.text("UPDATE songs SET search_text = trim(search_text)"))
    for name in ("song_genres_update", "song_genres_insert"):
        op.execute(sa.text(f"DROP TRIGGER {name}" + ("" if _is_sqlite() else " ON songs")))
    if not _is_sqlite():
        op.execute(sa.text("DROP FUNCTION song_genres_follow"))
        op.execute(sa.text("DROP INDEX song_search_trigrams"))
    op.drop_table('song_genres')
    op.drop_index('ix_songs_year', 'songs')
    op.drop_index('ix_songs_title_key', 'songs')
    for table, column, *_ in COLUMNS:
        op.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {column}"))
