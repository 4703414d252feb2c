"""Every table. Times are whole seconds since 1970 in UTC; ids of people and versions are 16 hex digits."""

from __future__ import annotations

import secrets
import time
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, Integer, MetaData, String, text, true
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# SQLite numbers rows by INTEGER PRIMARY KEY only. Where an id is remembered elsewhere (by a vector, a link, a file),
# ``sqlite_autoincrement`` sees to it that no later row gets the number of one that is gone.
_Id = BigInteger().with_variant(Integer(), "sqlite")


def new_id() -> str:
    """An opaque id of one width, so that no id is a prefix of another."""
    return secrets.token_hex(8)


def now() -> int:
    """Whole seconds since 1970, UTC."""
    return int(time.time())


class Table(DeclarativeBase):
    """Parent of all tables; constraint names are fixed so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {int: BigInteger, dict[str, Any]: JSON, list[str]: JSON, list[float]: JSON}


def _listener(*, primary_key: bool = False) -> Mapped[str]:
    return mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"), primary_key=primary_key, index=not primary_key)


def _brought(table: str) -> Index:
    return Index(f"ix_{table}_import_id", "import_id", sqlite_where=text("import_id IS NOT NULL"),
                 postgresql_where=text("import_id IS NOT NULL"))  # fmt: skip


class Listener(Table):
    """A person. ``live_version`` is the adapter version that answers for them; none means the base.

    ``sharing`` says who else may see what they played: nobody ("off"), everyone on this server ("circle"), or those
    whom ``shares`` names ("friends"). services/sharing.py reads it for everybody.
    ``in_circle``: whether the circle's adapter may learn from them, and answers for them while they have none.
    """

    __tablename__ = "listeners"
    __table_args__ = (CheckConstraint("sharing IN ('off', 'circle', 'friends')", name="sharing"),)
    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    name: Mapped[str]
    name_key: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    is_admin: Mapped[bool] = mapped_column(default=False)
    time_zone: Mapped[str] = mapped_column(default="UTC")
    live_version: Mapped[str | None] = mapped_column(String(16))
    sharing: Mapped[str] = mapped_column(default="off", server_default="off")
    in_circle: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    created_at: Mapped[int] = mapped_column(default=now)


class BrowserSession(Table):
    """A signed-in browser. The cookie holds a random token; only its sha256 is stored."""

    __tablename__ = "sessions"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    listener_id: Mapped[str] = _listener()
    created_at: Mapped[int] = mapped_column(default=now)
    seen_at: Mapped[int] = mapped_column(default=now)
    expires_at: Mapped[int]
    agent: Mapped[str] = mapped_column(default="")


class Invite(Table):
    """A single-use link: to join, or (``for_listener``) to set the password of someone added from the shell."""

    __tablename__ = "invites"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    made_by: Mapped[str | None] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"))
    for_listener: Mapped[str | None] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"))
    created_at: Mapped[int] = mapped_column(default=now)
    expires_at: Mapped[int]
    used_at: Mapped[int | None]
    used_by: Mapped[str | None] = mapped_column(ForeignKey("listeners.id", ondelete="SET NULL"))


class Artist(Table):
    """Facts about an artist. Songs name their artist by text; ``key`` is the folded name that both share."""

    __tablename__ = "artists"
    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    country: Mapped[str | None] = mapped_column(String(2))
    active_from: Mapped[int | None]
    active_to: Mapped[int | None]
    genres: Mapped[list[str]] = mapped_column(default=list)
    related: Mapped[list[str]] = mapped_column(default=list)


class Song(Table):
    """One song, as given; ``artist_key`` and ``title_key`` are folded for matching, ``search_text`` for searching.

    ``genres_from`` says whose word the genres are: given with the song, inferred from its vector, or a listener's.
    """

    __tablename__ = "songs"
    __table_args__ = (
        Index("uq_songs_artist_key_title_key", "artist_key", "title_key", unique=True),
        Index("ix_songs_title_key", "title_key"),
        Index("ix_songs_year", "year"),
        CheckConstraint("genres_from IN ('given', 'inferred', 'listener')", name="genres_from"),
        _brought("songs"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    artist: Mapped[str]
    title: Mapped[str]
    artist_key: Mapped[str]
    title_key: Mapped[str]
    search_text: Mapped[str]
    year: Mapped[int | None]
    genres: Mapped[list[str]] = mapped_column(default=list)
    genres_from: Mapped[str] = mapped_column(default="given", server_default="given")
    moods: Mapped[list[str]] = mapped_column(default=list)
    country: Mapped[str | None] = mapped_column(String(2))
    source: Mapped[str] = mapped_column(default="log")
    created_at: Mapped[int] = mapped_column(default=now)
    import_id: Mapped[str | None] = mapped_column(String(16))


class SongGenre(Table):
    """One genre of one song: what browsing by genre looks up. Triggers keep it in step with ``songs.genres``."""

    __tablename__ = "song_genres"
    genre: Mapped[str] = mapped_column(primary_key=True)
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id", ondelete="CASCADE"), primary_key=True, index=True)


class SongPlays(Table):
    """How often the circle played a song, skips not counted. Triggers keep it in step with ``listens``."""

    __tablename__ = "song_plays"
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id", ondelete="CASCADE"), primary_key=True)
    plays: Mapped[int] = mapped_column(index=True)


class Listen(Table):
    """One play of one song by one listener at one time; undated ones carry their count in ``plays``.

    ``duration_ms``: the song's length; ``played_ms``: how much of it was heard; ``import_id``: what brought it.
    ``learn`` is whether the taste may be learnt from it; the song counts as known either way.
    """

    __tablename__ = "listens"
    __table_args__ = (
        Index("uq_listens_dated", "listener_id", "song_id", "listened_at", unique=True,
              sqlite_where=text("listened_at IS NOT NULL"), postgresql_where=text("listened_at IS NOT NULL")),
        Index("uq_listens_undated", "listener_id", "song_id", unique=True,
              sqlite_where=text("listened_at IS NULL"), postgresql_where=text("listened_at IS NULL")),
        Index("ix_listens_listener_time", "listener_id", "listened_at"),
        CheckConstraint("plays >= 1", name="plays"),
        CheckConstraint("ended IN ('played', 'skipped')", name="ended"),
        _brought("listens"),
        {"sqlite_autoincrement": True},
    )  # fmt: skip
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    listener_id: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"))
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id"), index=True)
    listened_at: Mapped[int | None]
    plays: Mapped[int] = mapped_column(default=1)
    rating: Mapped[float | None]
    ended: Mapped[str] = mapped_column(default="played")
    source: Mapped[str] = mapped_column(default="web")
    album: Mapped[str | None]
    duration_ms: Mapped[int | None]
    played_ms: Mapped[int | None]
    import_id: Mapped[str | None] = mapped_column(String(16))
    learn: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[int] = mapped_column(default=now)
    song: Mapped[Song] = relationship(lazy="raise")


class Feedback(Table):
    """What a listener said of a song: love, dislike, not_now (until ``until``) or know."""

    __tablename__ = "feedback"
    __table_args__ = (
        CheckConstraint("verdict IN ('love', 'dislike', 'not_now', 'know')", name="verdict"),
        _brought("feedback"),
    )
    listener_id: Mapped[str] = _listener(primary_key=True)
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id"), primary_key=True)
    verdict: Mapped[str]
    until: Mapped[int | None]
    created_at: Mapped[int] = mapped_column(default=now)
    import_id: Mapped[str | None] = mapped_column(String(16))


class Preference(Table):
    """A newcomer's pick: a liked genre or a favourite artist."""

    __tablename__ = "preferences"
    __table_args__ = (CheckConstraint("kind IN ('genre', 'artist')", name="kind"),)
    listener_id: Mapped[str] = _listener(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)


class HiddenArtist(Table):
    """An artist whose songs a listener wants in no list."""

    __tablename__ = "hidden_artists"
    listener_id: Mapped[str] = _listener(primary_key=True)
    artist_key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[int] = mapped_column(default=now)


class KeptList(Table):
    """What a listener asked and when. ``version`` is the adapter version that answered; none is the base."""

    __tablename__ = "kept_lists"
    __table_args__ = (Index("ix_kept_lists_listener_time", "listener_id", "created_at"),)
    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    listener_id: Mapped[str] = mapped_column(ForeignKey("listeners.id", ondelete="CASCADE"))
    mode: Mapped[str]
    wish: Mapped[str] = mapped_column(default="")
    adventure: Mapped[int] = mapped_column(default=0)
    version: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[int] = mapped_column(default=now)


class KeptSong(Table):
    """One song that was shown in a kept list; songs that feedback brought in come after the first ones."""

    __tablename__ = "kept_songs"
    list_id: Mapped[str] = mapped_column(ForeignKey("kept_lists.id", ondelete="CASCADE"), primary_key=True)
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id", ondelete="CASCADE"), primary_key=True, index=True)
    place: Mapped[int]


class Playlist(Table):
    """A listener's own list of songs, in an order of their own."""

    __tablename__ = "playlists"
    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    listener_id: Mapped[str] = _listener()
    name: Mapped[str]
    created_at: Mapped[int] = mapped_column(default=now)


class PlaylistSong(Table):
    """One song of a playlist, in it once. It names the listener, so that a song outlives whoever brought it."""

    __tablename__ = "playlist_songs"
    playlist_id: Mapped[str] = mapped_column(ForeignKey("playlists.id", ondelete="CASCADE"), primary_key=True)
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id"), primary_key=True, index=True)
    listener_id: Mapped[str] = _listener()
    place: Mapped[int]


class AdapterVersion(Table):
    """One trained version; its files are adapters/<listener>/<id>/. Never changed once written."""

    __tablename__ = "adapter_versions"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    listener_id: Mapped[str] = _listener()
    number: Mapped[int]
    promoted: Mapped[bool]
    why: Mapped[str]
    base_fingerprint: Mapped[str] = mapped_column(String(64))
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    difference: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    learnt_from: Mapped[int]
    trainable_parameters: Mapped[int]
    base_parameters: Mapped[int]
    size: Mapped[int]
    seconds: Mapped[float]
    created_at: Mapped[int] = mapped_column(default=now)


class Job(Table):
    """A retrain. At most one queued and one running for a listener, held by the partial indexes.

    ``kind``: "taste" trains the listener's adapter, "circle" the one of all who opted in; then ``listener_id`` is the
    member who is named as its owner, and at most one is queued and one running for everybody.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        *(
            Index(f"uq_jobs_{name}", *columns, unique=True, sqlite_where=text(where), postgresql_where=text(where))
            for name, columns, where in (
                ("queued", ("listener_id", "kind"), "state = 'queued'"),
                ("running", ("listener_id", "kind"), "state IN ('running', 'evaluated')"),
                ("circle_queued", ("kind",), "kind = 'circle' AND state = 'queued'"),
                ("circle_running", ("kind",), "kind = 'circle' AND state IN ('running', 'evaluated')"),
            )
        ),
        CheckConstraint("kind IN ('taste', 'circle')", name="kind"),
        CheckConstraint(
            "state IN ('queued', 'running', 'evaluated', 'promoted', 'kept', 'failed', 'cancelled')", name="state"
        ),
    )  # fmt: skip
    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    listener_id: Mapped[str] = _listener()
    kind: Mapped[str] = mapped_column(default="taste", server_default="taste")
    state: Mapped[str] = mapped_column(default="queued", index=True)
    version: Mapped[str] = mapped_column(String(16), default=new_id)
    seed: Mapped[int] = mapped_column(default=0)
    phase: Mapped[str] = mapped_column(default="")
    step: Mapped[int] = mapped_column(default=0)
    of: Mapped[int] = mapped_column(default=0)
    loss: Mapped[float | None]
    eta: Mapped[float | None]
    losses: Mapped[list[float]] = mapped_column(default=list)
    error: Mapped[str] = mapped_column(default="")
    attempts: Mapped[int] = mapped_column(default=0)
    cancel_asked: Mapped[bool] = mapped_column(default=False)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[int | None]
    created_at: Mapped[int] = mapped_column(default=now)
    started_at: Mapped[int | None]
    finished_at: Mapped[int | None]


class Chore(Table):
    """What the worker does now and then: when it is due (None: when asked), and how it went. See services/chores.py."""

    __tablename__ = "chores"
    name: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[int | None]
    done_at: Mapped[int | None]
    said: Mapped[str] = mapped_column(default="")
    error: Mapped[str] = mapped_column(default="")
    failures: Mapped[int] = mapped_column(default=0)
