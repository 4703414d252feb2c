"""All sources on one list of artists, and the texts by which an artist is met.

Knowledge of who belongs together is kept per artist; texts are drawn per song, in every form in which the product may
meet them, so that the base understands a song with or without tags, with or without a title, by its tags alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.lm.pretraining_data import SMALLEST_GROUP, Kind, Piece, Source
from app.lm.song_text import artist_key, song_text

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

UNSEEN = 8  # of 256 artists, whose texts are never trained on
MOST_TAGS = 8
_KIND_SHARE: dict[Kind, float] = {"listeners": 1.0, "playlists": 0.25, "facts": 0.5}
_POPULARITY_POWER = 0.75

# How often each form of a text is drawn, where a piece has it.
FORMS = {"full": 2.5, "name": 1.0, "title by artist": 1.0, "artist first": 0.6, "tags": 0.3, "some tags": 0.7}
_UNTITLED = ("name", "tags")


@dataclass(frozen=True, slots=True)
class Domain:
    """One source's groups of one kind. members: (artists, weights) of each; artists: all of them, ascending."""

    name: str
    kind: Kind
    members: Sequence[tuple[Ints, Floats]]
    artists: Ints
    share: float


@dataclass(frozen=True, slots=True)
class World:
    """Everything to learn from. pieces: of each artist; popularity: (N,) groups with them; unseen: (N,) bool."""

    names: Sequence[str]
    pieces: Sequence[Sequence[Piece]]
    domains: Sequence[Domain]
    popularity: Floats
    unseen: NDArray[np.bool_]


def world_of(sources: Sequence[Source]) -> World:
    """Join sources by artist."""
    index: dict[str, int] = {}
    names: list[str] = []
    pieces: list[dict[Piece, None]] = []
    domains: list[Domain] = []
    for source in sources:
        artist_of: list[int] = []
        for piece in source.pieces:
            place = index.setdefault(artist_key(piece.artist), len(index))
            if place == len(names):
                names.append(piece.artist)
                pieces.append({})
            pieces[place][piece] = None
            artist_of.append(place)
        for kind, groups in source.groups.items():
            members = [m for group in groups if len((m := _by_artist(group.rows, group.weights, artist_of))[0]) >= 5]
            if members:
                artists = np.unique(np.concatenate([ids for ids, _ in members]))
                share = _KIND_SHARE[kind] * len(members) ** 0.5
                domains.append(Domain(source.name, kind, members, artists, share))
    popularity = np.zeros(len(names), np.float32)
    for domain in domains:
        for ids, _ in domain.members:
            popularity[ids] += 0.1 if domain.kind == "playlists" else 1.0
    unseen = np.array([hashlib.sha256(f"unseen {key}".encode()).digest()[0] < UNSEEN for key in index], dtype=bool)
    return World(names, [list(p) for p in pieces], domains, popularity, unseen)


def _by_artist(rows: Sequence[int], weights: Sequence[float], artist_of: Sequence[int]) -> tuple[Ints, Floats]:
    """A group of songs as a group of artists, weights added up; ids in the order met."""
    total: dict[int, float] = {}
    for row, weight in zip(rows, weights, strict=True):
        total[artist_of[row]] = total.get(artist_of[row], 0.0) + weight
    return np.array(list(total), np.int64), np.array(list(total.values()), np.float32)


def form_of(piece: Piece, form: str, random: np.random.Generator) -> str:
    """A piece in one form; the empty text if it lacks what the form needs."""
    tags = piece.tags[:MOST_TAGS]
    if form == "full":
        return song_text(piece.artist, piece.title, tags, (), piece.year)
    if form == "name":
        return piece.artist
    if form == "title by artist":
        return song_text(piece.artist, piece.title) if piece.title and tags else ""
    if form == "artist first":
        return f"{piece.artist} - {piece.title}" if piece.title else ""
    if not tags:
        return ""
    if form == "tags":
        return ", ".join(tags)
    order = random.permutation(len(tags))[: random.integers(1, min(4, len(tags)) + 1)]
    return song_text(piece.artist, piece.title, [tags[i] for i in order])


@dataclass(frozen=True, slots=True)
class Drawn:
    """Texts of a step. artists: (n,) whose; titled: (n,) whether they name a song, not only the artist or tags."""

    artists: Ints
    texts: list[str]
    titled: NDArray[np.bool_]


class Texts:
    """Draws texts of seen artists: the artist by popularity, one of their pieces, one of its forms.

    entries: how often the piece is an artist's own entry (one without a title) where there is one; 0: as chance has it.
    """

    def __init__(self, world: World, entries: float = 0.0) -> None:
        self.world, self.entries = world, entries
        weights = (1 + world.popularity.astype(np.float64)) ** _POPULARITY_POWER
        weights[world.unseen | (world.popularity == 0)] = 0
        self._cumulative = np.cumsum(weights / weights.sum())

    def draw(self, count: int, random: np.random.Generator) -> Drawn:
        """``count`` artists and a text of each."""
        artists = np.searchsorted(self._cumulative, random.random(count) * self._cumulative[-1], side="right")
        texts, titled = [], []
        names, shares = list(FORMS), np.array(list(FORMS.values()))
        for artist in artists:
            pieces = self.world.pieces[artist]
            if self.entries and random.random() < self.entries:
                pieces = entries_of(pieces) or pieces
            piece = pieces[int(random.integers(len(pieces)))]
            written = [form_of(piece, form, random) for form in names]
            usable = np.where([bool(text) for text in written], shares, 0.0)
            chosen = int(random.choice(len(names), p=usable / usable.sum()))
            texts.append(written[chosen])
            titled.append(bool(piece.title) and names[chosen] not in _UNTITLED)
        return Drawn(artists.astype(np.int64), texts, np.array(titled, dtype=bool))


def entries_of(pieces: Sequence[Piece]) -> list[Piece]:
    """An artist's own entries among their pieces."""
    return [piece for piece in pieces if not piece.title]


def probes(
    world: World, artists: Sequence[int], random: np.random.Generator, most: int = 3, *, entries: bool = False
) -> list[list[str]]:
    """For each artist a few texts that say what is known: the name, the entry without a title, some songs.

    entries: the entries alone, where there are any.
    """
    found = []
    for artist in artists:
        pieces = world.pieces[artist]
        alone = entries_of(pieces)[:2]
        if entries and alone:
            found.append([form_of(p, "full", random) for p in alone])
            continue
        titled = [p for p in pieces if p.title]
        some = [titled[i] for i in random.permutation(len(titled))[:most]]
        found.append([form_of(p, "full", random) for p in [*alone, *some]] + [world.names[artist]])
    return found


def neighbour_pairs(world: World, count: int, random: np.random.Generator, *, unseen: bool) -> Ints:
    """(count, 3): an artist, one of the same group, and any other artist of that domain; all unseen or all seen."""
    rows: list[tuple[int, int, int]] = []
    shares = np.array([d.share for d in world.domains])
    for _ in range(count * 40):
        domain = world.domains[int(random.choice(len(shares), p=shares / shares.sum()))]
        ids = domain.members[int(random.integers(len(domain.members)))][0]
        firsts = ids[world.unseen[ids] == unseen]
        if len(firsts) == 0 or len(ids) < SMALLEST_GROUP:
            continue
        first = int(random.choice(firsts))
        mates = ids[(ids != first) & ~world.unseen[ids]]
        other = int(random.choice(domain.artists))
        if len(mates) and other not in ids and not world.unseen[other]:
            rows.append((first, int(random.choice(mates)), other))
        if len(rows) == count:
            break
    return np.array(rows, np.int64).reshape(-1, 3)
