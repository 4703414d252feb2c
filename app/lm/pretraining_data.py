"""What the music adapter learns from: directories in the plain format, and facts of a catalogue.

The plain format (tab-separated, header line, empty is unknown; every file but songs.tsv may be missing): songs.tsv
song_id artist title tags(|) year · listens.tsv user_id song_id plays rating at · playlists.tsv playlist_id song_ids.

A fifth of all listeners, those whose id has a sha256 that begins with a byte below 52, is left out while reading: they
are for measuring, and no music adapter may learn from them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.errors import BadInput
from app.lm.song_text import artist_key

HELD_BACK = 52  # of 256
SMALLEST_GROUP = 5
_FILES = ("songs.tsv", "listens.tsv", "playlists.tsv")
_TRACK_NUMBER = re.compile(r"^\s*(?:\[?\d{1,2}\]?[.)\-]\s+|\d{2}\s+-\s+)")
_PLACEHOLDERS = ("", "-1")
_DISLIKED = 2.0

Kind = Literal["listeners", "playlists", "facts"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A song, or an artist if there is no title, with what is known of it."""

    artist: str
    title: str = ""
    tags: tuple[str, ...] = ()
    year: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Pieces (row numbers) that belong together, with weights > 0: a listener, a playlist, a neighbourhood."""

    rows: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """One place to learn from. listeners: marks of those in it; left_out: how many were held back for measuring."""

    name: str
    pieces: Sequence[Piece]
    groups: Mapping[Kind, Sequence[Group]]
    digest: str
    listeners: tuple[str, ...] = ()
    left_out: int = 0


def held_back(listener: str) -> bool:
    """Whether a listener is for measuring only."""
    return hashlib.sha256(listener.encode()).digest()[0] < HELD_BACK


def mark(listener: str, songs: Sequence[str]) -> str:
    """Eight hex digits for a listener: sha256 of the id and the sorted ids of their songs, one a line.

    Ids alone would not do: those of different sets are often the same small numbers.
    """
    return hashlib.sha256("\n".join([listener, *sorted(songs)]).encode()).hexdigest()[:8]


def read_directory(folder: Path) -> Source:
    """Read a directory to learn from it; listeners held back are dropped.

    Raises BadInput if it has no songs or nothing that groups them.
    """
    ids, pieces, digest = _songs(folder)
    everybody, away, left_out = _listens(folder / "listens.tsv", ids, lambda listener: not held_back(listener))
    listeners = [name for name in sorted(everybody) if len(set(everybody[name]) - away[name]) >= SMALLEST_GROUP]
    names = list(ids)
    marks = sorted(mark(name, [names[song] for song in everybody[name]]) for name in listeners)
    histories = [_history(everybody[name], away[name]) for name in listeners]
    playlists = _playlists(folder / "playlists.tsv", ids)
    if not histories and not playlists:
        raise BadInput(f"{folder} has no listener and no playlist of {SMALLEST_GROUP} songs or more to learn from.")
    groups: dict[Kind, Sequence[Group]] = {"listeners": histories, "playlists": playlists}
    return Source(folder.resolve().name, pieces, groups, digest, tuple(marks), left_out)


def read_everybody(folder: Path) -> tuple[Source, dict[str, Group]]:
    """Read a directory to measure with it: its songs, and every listener's history, held back or not."""
    ids, pieces, digest = _songs(folder)
    everybody, away, _ = _listens(folder / "listens.tsv", ids, lambda listener: True)
    histories = {name: _history(everybody[name], away[name]) for name in sorted(everybody)}
    return Source(folder.resolve().name, pieces, {}, digest), histories


def _songs(folder: Path) -> tuple[dict[str, int], list[Piece], str]:
    """Row numbers by song id, the songs, and the digest of all files. Raises BadInput."""
    if not (folder / "songs.tsv").is_file():
        raise BadInput(f"{folder} has no songs.tsv, so it is no directory in the plain format.")
    digest = hashlib.sha256()
    for name in _FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    ids: dict[str, int] = {}
    pieces: list[Piece] = []
    for row in _table(folder / "songs.tsv"):
        piece = _piece(row)
        if piece is not None and row["song_id"] not in ids:
            ids[row["song_id"]] = len(pieces)
            pieces.append(piece)
    return ids, pieces, digest.hexdigest()


def _table(path: Path) -> Iterator[dict[str, str]]:
    """Rows by the header line; short rows are filled up with empty values. A file that is missing has none."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as stream:
        head = stream.readline().rstrip("\r\n").split("\t")
        for line in stream:
            values = line.rstrip("\r\n").split("\t")
            if any(values):
                yield dict(zip(head, values + [""] * (len(head) - len(values)), strict=False))


def _piece(row: Mapping[str, str]) -> Piece | None:
    artist, title = row.get("artist", "").strip(), row.get("title", "").strip()
    if row.get("song_id", "") in _PLACEHOLDERS or not artist:
        return None
    tags = tuple(tag.strip() for tag in row.get("tags", "").split("|") if tag.strip())
    year = row.get("year", "").strip()
    known = int(year) if re.fullmatch(r"[12]\d{3}", year) else None
    return Piece(artist, _TRACK_NUMBER.sub("", title).strip() or title, tags, known)


def _listens(
    path: Path, ids: Mapping[str, int], wanted: Callable[[str], bool]
) -> tuple[dict[str, dict[int, float]], dict[str, set[int]], int]:
    """Plays by listener and song, disliked songs by listener (rated 2 or less), and how many listeners were dropped."""
    plays: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    away: dict[str, set[int]] = defaultdict(set)
    dropped: set[str] = set()
    for row in _table(path):
        listener, song = row.get("user_id", ""), ids.get(row.get("song_id", ""))
        if not listener or song is None:
            continue
        if not wanted(listener):
            dropped.add(listener)
            continue
        count, rating = _number(row.get("plays", "")), _number(row.get("rating", ""))
        plays[listener][song] += 1.0 if count is None or count <= 0 else count
        if rating is not None and rating <= _DISLIKED:
            away[listener].add(song)
    return plays, away, len(dropped)


def _history(plays: Mapping[int, float], away: set[int]) -> Group:
    """A listener's songs, each by log(1 + plays), less the disliked ones."""
    songs = {song: math.log1p(plays[song]) for song in sorted(plays) if song not in away}
    return Group(tuple(songs), tuple(songs.values()))


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _playlists(path: Path, ids: Mapping[str, int]) -> list[Group]:
    found = []
    for row in _table(path):
        songs = tuple(dict.fromkeys(ids[s] for s in row.get("song_ids", "").split() if s in ids))
        if len(songs) >= SMALLEST_GROUP:
            found.append(Group(songs, (1.0,) * len(songs)))
    return found


@dataclass(frozen=True, slots=True)
class ArtistFacts:
    """What a catalogue states of an artist. related: names, which may lie outside of the catalogue."""

    name: str
    genres: tuple[str, ...]
    related: tuple[str, ...]
    songs: tuple[Piece, ...]


def source_of_facts(artists: Sequence[ArtistFacts], name: str = "starter catalogue") -> Source:
    """Learn from facts alone: each artist's related artists, and those of like genres, moods and years.

    The pieces are the songs and, one each, the artists; the groups are of artists.
    """
    pieces: list[Piece] = []
    row_of: dict[str, int] = {}
    for artist in artists:
        if artist_key(artist.name) not in row_of:
            row_of[artist_key(artist.name)] = len(pieces)
            pieces.append(Piece(artist.name, "", artist.genres))
    for artist in artists:
        for other in artist.related:
            if artist_key(other) not in row_of:
                row_of[artist_key(other)] = len(pieces)
                pieces.append(Piece(other))
    near = _related(artists, row_of)
    groups = [*_neighbourhoods(near), *_alike(artists, row_of)]
    pieces += [song for artist in artists for song in artist.songs]
    digest = hashlib.sha256(repr((pieces, groups)).encode()).hexdigest()
    return Source(name, pieces, {"facts": groups}, digest)


def _related(artists: Sequence[ArtistFacts], row_of: Mapping[str, int]) -> dict[int, set[int]]:
    """Related artists of each, in both directions, by row."""
    near: dict[int, set[int]] = defaultdict(set)
    for artist in artists:
        one = row_of[artist_key(artist.name)]
        for other in artist.related:
            two = row_of[artist_key(other)]
            if one != two:
                near[one].add(two)
                near[two].add(one)
    return near


def _neighbourhoods(near: Mapping[int, set[int]], second: int = 12) -> Iterator[Group]:
    """An artist, those related (weight 1), and the ``second`` most often related to those (half)."""
    for one in sorted(near):
        first = sorted(near[one])
        paths = Counter(three for two in first for three in near[two] if three != one and three not in near[one])
        further = sorted(paths, key=lambda row: (-paths[row], row))[:second]
        rows = (one, *first, *further)
        if len(rows) >= SMALLEST_GROUP:
            yield Group(rows, (1.0,) * (1 + len(first)) + (0.5,) * len(further))


def _alike(artists: Sequence[ArtistFacts], row_of: Mapping[str, int], count: int = 20) -> Iterator[Group]:
    """An artist and the ``count`` most like it in facts: rare genres, moods and decades weigh more than common ones."""
    facts: list[dict[str, float]] = []
    for artist in artists:
        seen = defaultdict(float, {f"genre {g}": 2.0 for g in artist.genres})
        for song in artist.songs:
            told = [f"tag {t}" for t in song.tags] + ([f"decade {song.year // 10}"] if song.year else [])
            for fact in told:
                seen[fact] += 1.0 / len(artist.songs)
        facts.append(seen)
    spread = Counter(fact for told_of in facts for fact in told_of)
    holders: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for place, told_of in enumerate(facts):
        scaled = {fact: n * math.log(len(artists) / spread[fact]) for fact, n in told_of.items()}
        norm = math.sqrt(sum(x * x for x in scaled.values())) or 1.0
        for fact, x in scaled.items():
            holders[fact].append((place, x / norm))
    own: list[list[tuple[str, float]]] = [[] for _ in artists]
    for fact, them in holders.items():
        for place, x in them:
            own[place].append((fact, x))
    for place, artist in enumerate(artists):
        like: dict[int, float] = defaultdict(float)
        for fact, x in own[place]:
            for other, y in holders[fact]:
                like[other] += x * y
        like.pop(place, None)
        best = sorted(like, key=lambda other: (-like[other], other))[:count]
        rows = tuple(dict.fromkeys(row_of[artist_key(a.name)] for a in [artist, *(artists[o] for o in best)]))
        if len(rows) >= SMALLEST_GROUP:
            yield Group(rows, (1.0,) * len(rows))
