"""A listener's own songs through their own tower: adapters and vectors that are kept, and one forward pass for many.

What was encoded is kept in RAM, bounded in bytes. A retrain also leaves the vectors of the listener's songs on disk
beside the version, so that the first answer after a start or a swap needs no forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import AdapterProblem, AdapterUnfit
from app.lm.asking import Own
from app.lm.base import Base
from app.lm.batching import Batcher
from app.lm.centred import Floats, RowOf
from app.lm.kept import Kept
from app.lm.slots import SlotBank
from app.lm.store import AdapterStore, LoraTensors
from app.lm.vectors import text_hash

Adapter = tuple[str, LoraTensors]

BASE_KEY = "base"
_ROWS = 64  # songs in one forward pass
_QUESTIONS = 64  # listeners in one batch
_MOST_SONGS = 1000  # kept of one tower


@dataclass(frozen=True, slots=True)
class Encoded:
    """Songs through one tower. songs: (n,) ids; texts: (n,) hashes of what was read; vectors: (n, D).

    Kept in half the bytes: of a unit vector float16 holds every component to 1e-4, and every cosine to 1e-3.
    """

    songs: NDArray[np.int64]
    texts: NDArray[np.uint64]
    vectors: NDArray[np.float16]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.songs.nbytes + self.texts.nbytes + self.vectors.nbytes

    def find(self, songs: NDArray[np.int64], texts: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(m,) rows of songs that were read with the same text, else -1."""
        rows = RowOf(self.songs).find(songs)
        same = np.zeros(len(rows), dtype=bool)
        same[rows >= 0] = self.texts[rows[rows >= 0]] == texts[rows >= 0]
        return np.where(same, rows, -1)


@dataclass(frozen=True, slots=True)
class Question:
    """Texts through one tower; None is the base."""

    adapter: Adapter | None
    texts: Sequence[str]


class Towers:
    """All methods may be called from any thread."""

    def __init__(self, base: Base, bank: SlotBank, store: AdapterStore, most_bytes: int) -> None:
        """``most_bytes`` bounds adapters in RAM, and once more the vectors made with them."""
        self.base, self.bank, self.store = base, bank, store
        self._adapters: Kept[LoraTensors] = Kept(most_bytes)
        self._encoded: Kept[Encoded] = Kept(most_bytes)
        self._batcher: Batcher[Question, Floats] = Batcher(self._encode_all, _QUESTIONS)

    def adapter(self, listener: str, version: str) -> Adapter:
        """A checked adapter, kept in RAM from the first use on. Raises an AdapterProblem."""
        key = f"{listener}/{version}"
        tensors = self._adapters.get(key)
        if tensors is None:
            tensors = self.store.read(listener, version, self.base.fingerprint, self.bank.shapes)
            if tensors.rank > self.bank.rank:  # trained before the rank was lowered: no slot can hold it
                raise AdapterUnfit(f"adapter {version} has rank {tensors.rank}, above {self.bank.rank}")
            self._adapters.put(key, tensors, tensors.size)
        return key, tensors

    def forget(self, listener: str) -> None:
        """Drop everything of a listener from RAM."""
        for key in {*self._adapters.drop(f"{listener}/"), *self._encoded.drop(f"{listener}/")}:
            self.bank.drop(key)

    def own(self, adapter: Adapter | None, own: Sequence[Own]) -> Floats:
        """(n, D) of own songs through a tower (None: the base); what was encoded before is not encoded again."""
        songs = np.array([song.id for song in own], dtype=np.int64)
        texts = np.array([text_hash(song.text) for song in own], dtype=np.uint64)
        known = self._known(adapter)
        rows = known.find(songs, texts)
        result = np.empty((len(own), self.base.dimension), np.float32)
        result[rows >= 0] = known.vectors[rows[rows >= 0]]
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            read = self._batcher.ask(Question(adapter, [own[i].text for i in missing.tolist()]))
            result[missing] = read.astype(np.float16)  # as it is kept, so that the next answer is the same
            self._keep(adapter, known, Encoded(songs, texts, result.astype(np.float16)))
        return result

    def texts(self, adapter: Adapter | None, texts: Sequence[str]) -> Floats:
        """(n, D) of free texts through a tower; nothing of it is kept."""
        return self._batcher.ask(Question(adapter, texts))

    def leave(self, listener: str, version: str, own: Sequence[Own], vectors: Floats) -> None:
        """Write what a retrain made of own songs, (n, D), beside the version."""
        songs = np.array([song.id for song in own], dtype=np.int64)
        texts = np.array([text_hash(song.text) for song in own], dtype=np.uint64)
        self.store.write_own_vectors(listener, version, songs, texts, vectors)

    def _known(self, adapter: Adapter | None) -> Encoded:
        key = adapter[0] if adapter else BASE_KEY
        known = self._encoded.get(key)
        if known is None and adapter is not None:
            known = self._left_by_the_retrain(adapter)
        if known is None:
            empty = np.empty((0, self.base.dimension), np.float16)
            known = Encoded(np.empty(0, np.int64), np.empty(0, np.uint64), empty)
        return known

    def _left_by_the_retrain(self, adapter: Adapter) -> Encoded | None:
        try:
            listener, version = adapter[0].split("/")
            songs, texts, vectors = self.store.own_vectors(listener, version, self.base.dimension)
        except AdapterProblem:
            return None  # they can be made again
        known = Encoded(songs, texts, vectors.astype(np.float16))
        self._encoded.put(adapter[0], known, known.size)
        return known

    def _keep(self, adapter: Adapter | None, known: Encoded, fresh: Encoded) -> None:
        others = np.flatnonzero(~np.isin(known.songs, fresh.songs))[: max(0, _MOST_SONGS - len(fresh.songs))]
        both = Encoded(
            np.concatenate([fresh.songs, known.songs[others]]),
            np.concatenate([fresh.texts, known.texts[others]]),
            np.concatenate([fresh.vectors, known.vectors[others]]),
        )
        self._encoded.put(adapter[0] if adapter else BASE_KEY, both, both.size)

    def _encode_all(self, questions: Sequence[Question]) -> list[Floats]:
        """The answers to several questions, their texts in batches that mix listeners."""
        texts = [text for question in questions for text in question.texts]
        whose = [question.adapter for question in questions for _ in question.texts]
        result = np.empty((len(texts), self.base.dimension), np.float32)
        for rows, input_ids, mask in self.base.groups(texts, min(_ROWS, self.bank.slots)):
            lower = self.base.lower_of(input_ids, mask)
            result[rows] = self.bank.encode(lower, [whose[row] for row in rows]).numpy()
        ends = np.cumsum([len(question.texts) for question in questions])
        return np.split(result, ends[:-1])


MakeTowers = Callable[[Base, SlotBank, AdapterStore, int], Towers]
