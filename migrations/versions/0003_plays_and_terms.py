"""what the search needs: the trigrams by themselves, plays of each song, two spaces at the end of search texts"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

MORE = (
    "INSERT INTO song_plays(song_id, plays) VALUES (new.song_id, new.plays) "
    "ON CONFLICT (song_id) DO UPDATE SET plays = song_plays.plays + excluded.plays; "
)
FEWER = (
    "UPDATE song_plays SET plays = plays - old.plays WHERE song_id = old.song_id; "
    "DELETE FROM song_plays WHERE song_id = old.song_id AND plays <= 0; "
)
ON_SQLITE = (
    f"CREATE TRIGGER song_plays_insert AFTER INSERT ON listens WHEN new.ended = 'played' BEGIN {MORE}END",
    f"CREATE TRIGGER song_plays_delete AFTER DELETE ON listens WHEN old.ended = 'played' BEGIN {FEWER}END",
    # An UPDATE is a deletion and an insertion; each half counts only what was, or is, played.
    "CREATE TRIGGER song_plays_update_old BEFORE UPDATE OF plays, ended, song_id ON listens "
    f"WHEN old.ended = 'played' BEGIN {FEWER}END",
    "CREATE TRIGGER song_plays_update_new AFTER UPDATE OF plays, ended, song_id ON listens "
    f"WHEN new.ended = 'played' BEGIN {MORE}END",
    "CREATE VIRTUAL TABLE song_search_terms USING fts5vocab('song_search', 'row')",
)
ON_POSTGRESQL = (
    "CREATE FUNCTION song_plays_follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    f"IF TG_OP <> 'INSERT' AND old.ended = 'played' THEN {FEWER}END IF; "
    f"IF TG_OP <> 'DELETE' AND new.ended = 'played' THEN {MORE}END IF; "
    "RETURN NULL; END $$",
    "CREATE TRIGGER song_plays_follow AFTER INSERT OR DELETE OR UPDATE OF plays, ended, song_id ON listens "
    "FOR EACH ROW EXECUTE FUNCTION song_plays_follow()",
)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def upgrade() -> None:
    op.create_table('song_plays',
    sa.Column('song_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('plays', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['song_id'], ['songs.id'], name=op.f('fk_song_plays_song_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('song_id', name=op.f('pk_song_plays'))
    )
    op.create_index('ix_song_plays_plays', 'song_plays', ['plays'])
    op.execute(sa.text(
        "INSERT INTO song_plays(song_id, plays) "
        "SELECT song_id, sum(plays) FROM listens WHERE ended = 'played' GROUP BY song_id"
    ))
    for statement in ON_SQLITE if _is_sqlite() else ON_POSTGRESQL:
        op.execute(sa.text(statement))
    # The last letter, too, is then the beginning of a trigram.
    op.execute(sa.text("UPDATE songs SET search_text = ' ' || trim(search_text) || '  '"))


def downgrade() -> None:
    op.execute(sa.text("UPDATE songs SET search_text = ' ' || trim(search_text) || ' '"))
    if _is_sqlite():
        op.execute(sa.text("DROP TABLE song_search_terms"))
        for name in ("insert", "delete", "update_old", "update_new"):
            op.execute(sa.text(f"DROP TRIGGER song_plays_{name}"))
    else:
        op.execute(sa.text("DROP TRIGGER song_plays_follow ON listens"))
        op.execute(sa.text("DROP FUNCTION song_plays_follow"))
    op.drop_table('song_plays')
