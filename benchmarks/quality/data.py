"""Read a directory in the plain format. Any file or column may be missing; songs.tsv or a dialogue file must be there.

songs.tsv: song_id artist title tags(|) year · listens.tsv: user_id song_id plays rating at · friends.tsv: user_a user_b
· dialogs.jsonl (also in a folder below): the Conversational Playlist Curation Dataset's format, which brings its own
tracks (Chaganty et al., SIGIR 2023, https://github.com/google-research-datasets/cpcd).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.lm.ranking import Rule
from app.lm.song_text import song_text

_TRACK_NUMBER = re.compile(r"^\s*(?:\[?\d{1,2}\]?[.)\-]\s+|\d{2}\s+-\s+)")
_PLACEHOLDERS = {"", "-1"}
_FILES = ("songs.tsv", "listens.tsv", "friends.tsv", "dialogs.jsonl")


class DataProblem(Exception):
    """The directory cannot be measured with; the message says why."""


@dataclass(frozen=True, slots=True)
class Song:
    """One row of the catalogue: an artist, or a song if there is a title."""

    id: str
    artist: str
    title: str = ""
    tags: tuple[str, ...] = ()
    year: int | None = None

    @property
    def text(self) -> str:
        """As the product's base reads it."""
        return song_text(self.artist or self.title, self.title if self.artist else "", self.tags, (), self.year)

    @property
    def artist_key(self) -> str:
        """One spelling of an artist."""
        return " ".join(self.artist.casefold().split()) or f"song {self.id}"


@dataclass(frozen=True, slots=True)
class Listen:
    """What one listener did with one song (a row number): plays added up, the mean rating, the last Unix time."""

    song: int
    plays: float = 1.0
    rating: float | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing a person said, and the rows they liked and disliked of the answer."""

    said: str
    liked: tuple[int, ...]
    disliked: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A person putting a playlist together by talking; goal: rows of what they ended with."""

    id: str
    turns: tuple[Turn, ...]
    goal: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A directory as read. digest: sha256 of its files."""

    name: str
    songs: Sequence[Song]
    listens: Mapping[str, Sequence[Listen]]
    friends: Mapping[str, frozenset[str]]
    dialogues: Sequence[Dialogue]
    digest: str

    @property
    def rule(self) -> Rule:
        """The ranking rule that fits the catalogue, by its looks alone: titles and several songs an artist."""
        titled = sum(bool(song.title) for song in self.songs)
        artists = len({song.artist_key for song in self.songs})
        return "interest" if 2 * titled > len(self.songs) and len(self.songs) >= 2 * artists else "mean"


def read(folder: Path) -> Dataset:
    """Read a directory. Raises DataProblem."""
    paths = {name: path for name in _FILES if (path := _find(folder, name)) is not None}
    digest = hashlib.sha256()
    for name, path in sorted(paths.items()):
        digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    songs = _songs(paths["songs.tsv"]) if "songs.tsv" in paths else []
    row_of = {song.id: row for row, song in enumerate(songs)}
    dialogues: list[Dialogue] = []
    if "dialogs.jsonl" in paths:
        dialogues = _dialogues(paths["dialogs.jsonl"], songs, row_of)
    if not songs:
        raise DataProblem(f"{folder} has neither songs.tsv nor dialogs.jsonl with songs in it")
    return Dataset(
        folder.resolve().name,
        songs,
        _listens(paths["listens.tsv"], row_of) if "listens.tsv" in paths else {},
        _friends(paths["friends.tsv"]) if "friends.tsv" in paths else {},
        dialogues,
        digest.hexdigest(),
    )


def _find(folder: Path, name: str) -> Path | None:
    found = [folder / name, *sorted(folder.glob(f"*/{name}"))]
    return next((path for path in found if path.is_file()), None) if name == "dialogs.jsonl" else _file(folder / name)


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def table(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a tab-separated file by its header line; short rows are filled up with empty values."""
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        head = stream.readline().lstrip("\ufeff").rstrip("\r\n").split("\t")
        for line in stream:
            values = line.rstrip("\r\n").split("\t")
            if any(values):
                yield dict(zip(head, values + [""] * (len(head) - len(values)), strict=False))


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _songs(path: Path) -> list[Song]:
    songs: dict[str, Song] = {}
    for row in table(path):
        id_, artist, title = row.get("song_id", ""), row.get("artist", "").strip(), row.get("title", "").strip()
        if id_ in _PLACEHOLDERS or not (artist or title):
            continue
        title = _TRACK_NUMBER.sub("", title).strip() or title
        tags = tuple(tag.strip() for tag in row.get("tags", "").split("|") if tag.strip())
        year = _number(row.get("year", ""))
        songs.setdefault(id_, Song(id_, artist, title, tags, int(year) if year and 1000 < year < 3000 else None))
    return list(songs.values())


def _listens(path: Path, row_of: Mapping[str, int]) -> dict[str, list[Listen]]:
    rows: dict[str, dict[int, list[tuple[float, float | None, float | None]]]] = defaultdict(lambda: defaultdict(list))
    for row in table(path):
        song = row_of.get(row.get("song_id", ""))
        if song is not None and row.get("user_id"):
            plays = _number(row.get("plays", ""))
            entry = (1.0 if plays is None else plays, _number(row.get("rating", "")), _number(row.get("at", "")))
            rows[row["user_id"]][song].append(entry)
    return {user: [_added_up(song, them) for song, them in sorted(rows[user].items())] for user in sorted(rows)}


def _added_up(song: int, entries: Sequence[tuple[float, float | None, float | None]]) -> Listen:
    ratings = [rating for _, rating, _ in entries if rating is not None]
    times = [at for _, _, at in entries if at is not None]
    return Listen(
        song,
        sum(plays for plays, _, _ in entries),
        sum(ratings) / len(ratings) if ratings else None,
        max(times) if times else None,
    )


def _friends(path: Path) -> dict[str, frozenset[str]]:
    pairs: dict[str, set[str]] = defaultdict(set)
    for row in table(path):
        a, b = row.get("user_a", ""), row.get("user_b", "")
        if a and b and a != b:
            pairs[a].add(b)
            pairs[b].add(a)
    return {user: frozenset(them) for user, them in pairs.items()}


def _dialogues(path: Path, songs: list[Song], row_of: dict[str, int]) -> list[Dialogue]:
    """Read dialogues; tracks that songs.tsv does not have are appended to ``songs`` and ``row_of``."""
    found: list[Dialogue] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if not line.strip():
            continue
        entry = json.loads(line)
        for id_, track in entry.get("tracks", {}).items():
            if id_ not in row_of:
                song = _track(id_, track)
                if song.artist or song.title:
                    row_of[id_] = len(songs)
                    songs.append(song)
        turns = tuple(
            Turn(
                turn.get("user_query", "").strip(),
                _rows(turn.get("liked_results"), row_of),
                _rows(turn.get("disliked_results"), row_of),
            )
            for turn in entry.get("turns", [])
        )
        found.append(Dialogue(str(entry.get("id", number)), turns, _rows(entry.get("goal_playlist"), row_of)))
    return found


def _track(id_: str, track: Mapping[str, Any]) -> Song:
    def words(key: str) -> str:
        value = track.get(key) or ""
        return value if isinstance(value, str) else ", ".join(str(v) for v in value)

    return Song(id_, words("track_artists").strip(), words("track_titles").strip())


def _rows(ids: Any, row_of: Mapping[str, int]) -> tuple[int, ...]:
    """Row numbers of a list of ids, or of lists of them, each once."""
    flat: list[str] = []
    for entry in ids or []:
        flat += entry if isinstance(entry, list) else [entry]
    return tuple(dict.fromkeys(row_of[id_] for id_ in flat if id_ in row_of))
