"""What lies near in the catalogue as the base reads it, without any taste: songs by a song, genres by an artist."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from app.lm import labels, ranking
from app.lm.vectors import CatalogueVectors


class Encoded(Protocol):
    """What nearness needs of the engine."""

    @property
    def vectors(self) -> CatalogueVectors: ...


class Nearness:
    """The part of the engine that compares songs with songs."""

    def nearest(self: Encoded, song: int, count: int) -> list[int]:
        """The songs nearest to one by their centred catalogue vectors, nearest first; none before it is encoded."""
        snapshot = self.vectors.snapshot()
        row = snapshot.row_of.get(song)
        if row is None:
            return []
        values = snapshot.units @ snapshot.units[row]
        rows = ranking.allowed_rows(snapshot, without=[song])
        return [int(snapshot.ids[r]) for r in ranking.top(values, rows, count)]

    def guess_genres(
        self: Encoded, asked: Mapping[str, Sequence[int]], labelled: Mapping[str, tuple[Sequence[int], Collection[str]]]
    ) -> dict[str, list[tuple[str, float]]]:
        """Genres of artists by the vote of the nearest labelled ones: (genre, share), best first, however unsure.

        asked: songs by artist; labelled: songs and genres by artist. Only who has encoded songs votes or is judged.
        """
        snapshot = self.vectors.snapshot()
        groups = {artist: snapshot.rows(songs) for artist, songs in asked.items()}
        judged = [artist for artist, rows in groups.items() if len(rows)]
        voters = [(snapshot.rows(songs), genres) for songs, genres in labelled.values()]
        vote = labels.Vote(
            labels.middles(snapshot.units, [rows for rows, _ in voters if len(rows)]),
            [genres for rows, genres in voters if len(rows)],
        )
        found = vote.ask(labels.middles(snapshot.units, [groups[artist] for artist in judged]))
        return dict(zip(judged, found, strict=True))
