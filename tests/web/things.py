"""How to make what a route's path or form names, belonging to one listener: for the tests that try every route.

A new route whose path has a new parameter needs a maker here; one that takes the name of something owned in a form
needs a line in FORMS. ``{listen_id}`` and the like are replaced by what the maker made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import accounts, blends, kept, listens, playlists, tokens
from app.services.imports.account import Plan
from app.services.imports.previewing import Preview
from app.tables import AdapterVersion, Job, Listen, Listener, Preference, Song, new_id, now
from app.tables_imports import Import

SECRET = "quietcanary"  # stands in everything of the owner's that nobody else may read


def _song(db: Session, owner: str) -> str:
    return str(db.scalar(select(Song.id).order_by(Song.id).limit(1)))


def _listen(db: Session, owner: str) -> str:
    made = Listen(listener_id=owner, song_id=int(_song(db, owner)), listened_at=1_700_000_000 + _serial())
    db.add(made)
    db.flush()
    return str(made.id)


_made = 0


def _serial() -> int:
    global _made
    _made += 1
    return _made


def _version(db: Session, owner: str) -> str:
    held = {"ranks": [1], "gain": 0.5, "found": 1, "ndcg_10": 0.5, "of": 1, "within": 100}
    made = AdapterVersion(
        id=new_id(), listener_id=owner, number=_serial(), promoted=True, why=SECRET, base_fingerprint="f" * 64,
        before=held, after=held, difference=0.1, low=0.0, high=0.2, learnt_from=10, trainable_parameters=24_576,
        base_parameters=22_000_000, size=100_000, seconds=2.5,
    )  # fmt: skip
    db.add(made)
    db.flush()
    return made.id


def _link(db: Session, owner: str) -> str:
    """What is stored of an unused invite of theirs: what the form to end it names."""
    return accounts.token_hash(accounts.invite(db, owner, 1))


def _blend(db: Session, owner: str) -> str:
    """A blend with somebody who has no other part in the tests."""
    friend = accounts.add_listener(db, f"Blended {_serial()}", None)
    return blends.start(db, owner, [friend.id]).id


def _import(db: Session, owner: str) -> str:
    """Previewed and not yet run, so that it can be run, stopped, undone and discarded alike."""
    made = Import(
        listener_id=owner, state="ready", way="web", name=SECRET, files=[{"name": SECRET, "size": 1}],
        preview=Preview(owner).facts(Plan([], [])),
    )  # fmt: skip
    db.add(made)
    db.flush()
    return made.id


def _list(db: Session, owner: str) -> str:
    shown = [int(_song(db, owner))]
    return kept.keep(
        db, owner, mode="discover", wish=f"{SECRET} {_serial()}", adventure=0, version=None, songs=shown
    ).id


def _session(db: Session, owner: str) -> str:
    return accounts.token_hash(accounts.start_session(db, owner, 1))[:16]


def _invite(db: Session, owner: str) -> str:
    return accounts.token_hash(accounts.invite(db, owner, 1))[:16]


def _job(db: Session, owner: str) -> str:
    queued = db.scalar(select(Job).where(Job.listener_id == owner, Job.state == "queued")) or Job(listener_id=owner)
    db.add(queued)
    db.flush()
    return queued.id


MAKERS: dict[str, Callable[[Session, str], str]] = {
    "listen_id": _listen,
    "import_id": _import,
    "song_id": _song,
    "version": _version,
    "list_id": _list,
    "playlist_id": lambda db, owner: playlists.make(db, owner, SECRET, [int(_song(db, owner))]).id,
    "kind": lambda db, owner: "jspf",
    "session": _session,
    "invite_key": _invite,
    "person_id": lambda db, owner: owner,
    "job_id": _job,
    "token": lambda db, owner: accounts.invite(db, owner, 1),
    "link": _link,
    "blend": _blend,
    "person": lambda db, owner: owner,
    "name": lambda db, owner: "rock",
    "token_id": lambda db, owner: tokens.add(db, owner, f"Player {_serial()}", ["submit"])[0].id,
    "session_key": lambda db, owner: accounts.token_hash(accounts.start_session(db, owner, 1))[:16],
    "user_name": lambda db, owner: db.get_one(Listener, owner).name,
    "decade": lambda db, owner: "1970s",
    "key:path": lambda db, owner: db.scalar(select(Song.artist_key).order_by(Song.id).limit(1)) or "",
}

FORMS: dict[str, dict[str, Any]] = {
    "POST /taste/live": {"version": "{version}"},
    "PUT /api/v1/taste/live": {"version": "{version}"},
    "PATCH /api/v1/playlists/{playlist_id}": {"name": "Renamed"},
    "POST /api/v1/playlists/{playlist_id}/songs": {"song_id": "{song_id}"},
    "PUT /api/v1/playlists/{playlist_id}/songs/{song_id}": {"place": "1"},
    "PUT /api/v1/blends/{blend}/weights": {"weights": {"{person}": "3"}},
    "POST /api/v1/lists": {"mode": "discover"},
    "PUT /api/v1/circle": {"join": "true"},
    "POST /api/v1/imports/{import_id}/run": {"shift_minutes": "0"},
    "PUT /api/v1/listens/{listen_id}": {"listened_at": "1700000000", "ended": "skipped"},
    "POST /listens/{listen_id}/edit": {"when": "2024-01-01T10:00", "ended": "skipped"},
    "POST /listens": {"artist": "Queen", "title": "39"},
    "POST /songs/{song_id}/feedback": {"verdict": "love"},
    "POST /songs/{song_id}/genres": {"genres": "rock"},
    "POST /playlists": {"name": "Mine"},
    "POST /playlists/add": {"playlist": "{playlist_id}", "song": "{song_id}"},
    "POST /playlists/{playlist_id}/move": {"song": "{song_id}", "to": "1"},
    "POST /playlists/{playlist_id}/take-out": {"song": "{song_id}"},
    "POST /playlists/{playlist_id}/rename": {"name": "Renamed"},
    "POST /settings/sessions/end": {"session": "{session}"},
    "POST /settings/time-zone": {"zone": "UTC"},
    "POST /friends/sharing": {"sharing": "off"},
    "POST /friends/invite/revoke": {"link": "{link}"},
    "POST /blends/{blend}/weights": {"person": "{person}", "weight": "3"},
    "POST /friends/circle": {"join": "on"},
}


def filled(text: str, made: dict[str, str], make: Callable[[str], str]) -> str:
    """A path or form value with each ``{parameter}`` replaced; the same parameter by the same thing."""

    def thing(found: re.Match[str]) -> str:
        name = found[1]
        assert name in MAKERS, f"tests/web/things.py has no maker for {{{name}}} of {text}"
        if name not in made:
            made[name] = make(name)
        return made[name]

    return re.sub(r"\{([^}]+)\}", thing, text)


def furnish(db: Session, owner: str) -> None:
    """Give the owner one of everything that pages show, with SECRET in it."""
    for day in range(3):
        listens.log(db, owner, song_id=int(_song(db, owner)), at=1_600_000_000 + day)
    version = _version(db, owner)
    db.add(Job(listener_id=owner, state="kept", version=version, error=SECRET, finished_at=now()))
    _list(db, owner)
    playlists.make(db, owner, SECRET, [int(_song(db, owner))])
    db.add(Preference(listener_id=owner, kind="artist", value=SECRET))
