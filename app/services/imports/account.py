"""An Earshot account as a zip, brought to this server: listens and words by the readers, picks and adapters here.

``account.json`` says which files are read. Sharing, name and password are never taken from it: they are this server's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import AdapterProblem, BadInput
from app.services import catalogue, hiding, listens, playlists
from app.services.imports import decoding, detecting
from app.services.imports.detecting import Source
from app.services.imports.members import Member
from app.services.text import artist_key, clean, show
from app.tables import AdapterVersion, HiddenArtist, Listener, Playlist, Preference, new_id, now

MARK = "earshot_account"
_MOST_MANIFEST = 4_000_000
_MOST_ADAPTER = 64_000_000
_MOST_VERSIONS = 500
_MOST_PICKS = 60
_MOST_HIDDEN, _MOST_PLAYLISTS = 2_000, 500
_MEASURES = ("found", "of", "within", "ndcg_10", "gain")

# Brings an adapter's files in: (listener, version, weights, config, card) to bytes on disk. Raises an AdapterProblem.
Adopt = Callable[[str, str, bytes, bytes, dict[str, Any]], int]


@dataclass(frozen=True, slots=True)
class Account:
    """What account.json says, and the files that lie beside it."""

    manifest: dict[str, Any]
    beside: dict[str, Member]

    @property
    def versions(self) -> list[dict[str, Any]]:
        """What it says of each adapter version."""
        found = self.manifest.get("versions")
        return [one for one in found if isinstance(one, dict)][:_MOST_VERSIONS] if isinstance(found, list) else []

    @property
    def picks(self) -> list[tuple[str, str]]:
        """(kind, value) of a newcomer's picks; what is none is left out."""
        found = self.manifest.get("picks")
        picks: list[tuple[str, str]] = []
        for kind in ("genre", "artist"):
            values = found.get(kind) if isinstance(found, dict) else None
            for value in values if isinstance(values, list) else []:
                try:
                    picks.append((kind, clean(value, "A pick", most=60 if kind == "genre" else 500)))
                except (BadInput, TypeError):
                    continue
        return picks[:_MOST_PICKS]

    def facts(self) -> dict[str, Any]:
        """What a preview shows of it."""
        base = self.manifest.get("base")
        name = base.get("name") if isinstance(base, dict) else None
        listed = self.manifest.get("playlists")
        count = len(listed) if isinstance(listed, list) else 0
        return {"base": show(str(name), 80), "versions": len(self.versions), "picks": len(self.picks),
                "playlists": count}  # fmt: skip

    def file(self, name: object, most: int) -> bytes:
        """A file beside account.json. Raises BadInput."""
        member = self.beside.get(name) if isinstance(name, str) else None
        if member is None or member.size > most:
            raise BadInput(f"{show(str(name))} is not in the zip, or is too large")
        with member.open() as stream:
            return decoding.read(stream, most)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be read, what holds no listens, and the account if it is one."""

    sources: list[Source]
    unread: list[str]
    account: Account | None = None


def plan(members: Sequence[Member]) -> Plan:
    """Decide what is read. Raises BadInput if there is nothing to."""
    for member in members:
        manifest = _manifest(member)
        if manifest is not None:
            home = member.name.rpartition("account.json")[0]
            beside = {m.name.removeprefix(home): m for m in members if m.name.startswith(home)}
            wanted = manifest.get("reads")
            names = [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []
            chosen = [beside[name] for name in names if name in beside]
            sources, unread = detecting.sources(chosen) if chosen else ([], [])
            return Plan(sources, unread, Account(manifest, beside))
    return Plan(*detecting.sources(members))


def _manifest(member: Member) -> dict[str, Any] | None:
    if member.size > _MOST_MANIFEST or not member.name.endswith(".json"):
        return None
    try:
        with member.open() as stream:
            raw = decoding.read(stream, _MOST_MANIFEST)
        if MARK.encode() not in raw:
            return None
        found = json.loads(raw)
    except (ValueError, RecursionError, BadInput):
        return None
    return found if isinstance(found, dict) and MARK in found else None


@dataclass(slots=True)
class Brought:
    """What an account brought besides its rows, so that it can be undone; ``notes`` say what could not be taken."""

    picks: list[tuple[str, str]] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    playlists: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    live_before: str | None = None
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the import's row."""
        return {"picks": [list(pick) for pick in self.picks], "versions": self.versions,
                "playlists": self.playlists, "hidden": self.hidden, "live_before": self.live_before,
                "notes": self.notes}  # fmt: skip


def take(db: Session, listener_id: str, import_id: str, found: Account, adopt: Adopt | None) -> dict[str, Any]:
    """Take picks that are not there yet, and every adapter version that fits this server's base."""
    brought = Brought()
    mine = select(Preference.kind, Preference.value).where(Preference.listener_id == listener_id)
    there = {(kind, value) for kind, value in db.execute(mine)}
    for kind, value in dict.fromkeys(found.picks):
        if (kind, value) not in there:
            db.add(Preference(listener_id=listener_id, kind=kind, value=value))
            brought.picks.append((kind, value))
    _take_hidden(db, listener_id, found, brought)
    _take_playlists(db, listener_id, import_id, found, brought)
    if found.versions and adopt is None:
        brought.notes.append(
            f"{len(found.versions)} adapter versions were left out: there is no base to check them on."
        )
    elif adopt is not None:
        _take_versions(db, listener_id, found, adopt, brought)
    db.flush()
    return brought.as_dict()


def _take_hidden(db: Session, listener_id: str, found: Account, brought: Brought) -> None:
    there = {one.artist_key for one in hiding.hidden(db, listener_id)}
    for name in _texts(found.manifest.get("hidden_artists"))[:_MOST_HIDDEN]:
        key = artist_key(name)
        if key not in there:
            there.add(key)
            db.add(HiddenArtist(listener_id=listener_id, artist_key=key, name=name))
            brought.hidden.append(key)


def _take_playlists(db: Session, listener_id: str, import_id: str, found: Account, brought: Brought) -> None:
    """Playlists under names that are not there yet; their songs join the catalogue where they must."""
    there = {one.name for one, _ in playlists.of(db, listener_id)}
    listed = found.manifest.get("playlists")
    for said in listed[:_MOST_PLAYLISTS] if isinstance(listed, list) else []:
        try:
            made = _playlist(db, listener_id, import_id, said, there)
        except (BadInput, TypeError, AttributeError) as problem:
            brought.notes.append(f"A playlist was left out: {problem}")
            continue
        if made is not None:
            there.add(made.name)
            brought.playlists.append(made.id)


def _playlist(db: Session, listener_id: str, import_id: str, said: dict[str, Any], there: set[str]) -> Playlist | None:
    name = clean(said["name"] if isinstance(said.get("name"), str) else "", "The name", most=playlists.NAME_MOST)
    songs, created = said.get("songs"), _moment(said.get("created_at"))
    if name in there:
        return None
    names = [
        (clean(str(song.get("artist", "")), "The artist"), clean(str(song.get("title", "")), "The title"))
        for song in (songs[: playlists.MOST_SONGS] if isinstance(songs, list) else [])
    ]
    ids: list[int] = []
    for artist, title in names:
        song, added = catalogue.find_or_add(db, artist, title, source="import")
        song.import_id = import_id if added else song.import_id
        ids.append(song.id)
    made = playlists.make(db, listener_id, name, ids)
    made.created_at = created or made.created_at
    return made


def _texts(values: Any) -> list[str]:
    """The names among some values."""
    names: list[str] = []
    for value in values if isinstance(values, list) else []:
        try:
            names.append(clean(value, "A name"))
        except (BadInput, TypeError):
            continue
    return names


def _take_versions(db: Session, listener_id: str, found: Account, adopt: Adopt, brought: Brought) -> None:
    listener = db.get_one(Listener, listener_id)
    brought.live_before = listener.live_version
    numbers = select(AdapterVersion.number).where(AdapterVersion.listener_id == listener_id)
    number = max(db.scalars(numbers), default=0)
    for said in sorted(found.versions, key=lambda one: _whole(one.get("number"))):
        label = f"Version {_whole(said.get('number'))}"
        try:
            row = _row(listener_id, said)
            there = db.get(AdapterVersion, row.id)
            if there is not None and there.listener_id == listener_id:
                brought.notes.append(f"{label} is here already.")
                continue
            if there is not None:
                row.id = new_id()  # a friend brought the same account
            card = json.loads(found.file(said.get("card"), _MOST_MANIFEST))
            if not isinstance(card, dict):
                raise BadInput("its card is no JSON object")
            row.size = adopt(
                listener_id, row.id, found.file(said.get("weights"), _MOST_ADAPTER),
                found.file(said.get("config"), _MOST_MANIFEST), card,
            )  # fmt: skip
        except (BadInput, AdapterProblem, ValueError, RecursionError) as problem:
            brought.notes.append(f"{label} was left out: {problem}")
            continue
        number += 1
        row.number = number
        db.add(row)
        brought.versions.append(row.id)
        if said.get("live") is True and brought.live_before is None:
            listener.live_version = row.id


def _row(listener_id: str, said: dict[str, Any]) -> AdapterVersion:
    """A version's row from what the account says; numbers must be numbers. Raises BadInput."""
    version, fingerprint = said.get("id"), said.get("base_fingerprint")
    before, after = _measured(said.get("before")), _measured(said.get("after"))
    if len(before["ranks"]) != len(after["ranks"]):
        raise BadInput("it has other hidden songs before than after")
    hexadecimal = "0123456789abcdef"
    if not isinstance(version, str) or len(version) != 16 or set(version) - set(hexadecimal):
        raise BadInput(f"{show(str(version))} is no version id")
    if not isinstance(fingerprint, str) or len(fingerprint) != 64:
        raise BadInput("it does not say which base it was trained on")
    return AdapterVersion(
        id=version, listener_id=listener_id, number=0, promoted=said.get("promoted") is True,
        why=clean(str(said.get("why", "")), "The reason", required=False), base_fingerprint=fingerprint,
        before=before, after=after,
        difference=_real(said.get("difference")), low=_real(said.get("low")), high=_real(said.get("high")),
        learnt_from=_whole(said.get("learnt_from")), trainable_parameters=_whole(said.get("trainable_parameters")),
        base_parameters=max(1, _whole(said.get("base_parameters"))), size=0, seconds=_real(said.get("seconds")),
        created_at=_moment(said.get("created_at")),
    )  # fmt: skip


def _measured(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or any(name not in value for name in _MEASURES):
        raise BadInput("it lacks what was measured before and after")
    kept: dict[str, Any] = {
        str(name)[:40]: _real(number) if isinstance(number, float) else _whole(number)
        for name, number in list(value.items())[:40]
        if isinstance(number, int | float)
    }
    if any(name not in kept for name in _MEASURES):
        raise BadInput("what was measured before and after are no numbers")
    listed = value.get("ranks")
    ranks = [_whole(rank) for rank in listed[:10_000]] if isinstance(listed, list) else []
    if any(rank < 1 for rank in ranks):
        raise BadInput("a hidden song's place is no number from 1 on")
    return kept | {"ranks": ranks} | ({"learnt_since": True} if value.get("learnt_since") is True else {})


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def _moment(value: Any) -> int:
    """A time that has been; one of another server's clock may be a little ahead of ours. Raises BadInput."""
    at = _whole(value)
    if at >= now() + listens.AHEAD:
        raise BadInput("it says that it was made in the future")
    return at


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{show(str(value))} is no number")
    return float(value)
