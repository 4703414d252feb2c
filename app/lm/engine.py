"""The taste engine as services see it: plain ids, texts and numbers in, plain results out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.errors import AdapterProblem, BadInput
from app.lm import evaluation, proof, ranking, tuned, wishes
from app.lm.activations import read_by
from app.lm.asking import CIRCLE, WISH_SHARE, Ask, AskArtists, Own
from app.lm.base import Base, load
from app.lm.evaluation import CAUTION, HeldOut, Verdict
from app.lm.locate import locate
from app.lm.lora import LoraFacts, lora_facts
from app.lm.ranking import Ranked, Rule, Taste
from app.lm.scoring import Scored, Scores
from app.lm.shared_store import store_for
from app.lm.shared_vectors import vectors_for
from app.lm.slots import SlotBank
from app.lm.store import LoraTensors
from app.lm.towers import Adapter, MakeTowers, Towers
from app.lm.trainer import Progress, Report, Trainer, TrainingSettings, TrainingSongs, settings_dict
from app.lm.vectors import Floats, Snapshot, unit
from app.lm.views import Views

HELD_OUT_SHARE = 0.2
_MB = 1 << 20
_ARTISTS_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine needs to know; settings.py fills it in."""

    base_toml: Path
    vectors: Path
    adapters: Path
    base_override: str = ""
    music: Path | None = None
    slots: int = 64
    top_layers: int = 1
    rank: int = 8
    threads: int = 0
    rule: Rule = "interest"
    tuned: Path | None = None
    cache_mb: int = 256
    storage: str = ""
    storage_cache_mb: int = 2048


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished retrain: the version is on disk; whether it goes live is the gate's verdict."""

    version: str
    verdict: Verdict
    before: HeldOut
    after: HeldOut
    losses: tuple[float, ...]
    facts: LoraFacts
    size: int
    seconds: float
    learnt_from: int


class Engine(Views):
    """One per process. All methods but ``train`` may be called from any thread."""

    circle = CIRCLE  # the id under which the adapter of all who opted in lies

    def __init__(self, base: Base, settings: EngineSettings, make_towers: MakeTowers | None = None) -> None:
        self.base, self.settings = base, settings
        self.fingerprint = base.fingerprint
        self.vectors = vectors_for(settings.vectors, base.fingerprint, base.dimension, settings.storage)
        self.store = store_for(settings.adapters, settings.storage, settings.storage_cache_mb * _MB)
        self.bank = SlotBank(base, settings.rank, settings.slots)
        # Adapters, vectors and scores share the room evenly.
        self.towers = (make_towers or Towers)(base, self.bank, self.store, settings.cache_mb * _MB // 3)
        self.scores = Scores(settings.cache_mb * _MB // 3)
        self._requests: Floats | None = None
        self._artists: tuple[object, dict[int, str]] = (None, {})

    @classmethod
    def open(cls, settings: EngineSettings, make_towers: MakeTowers | None = None) -> Engine:
        """Locate, verify and load the base. Raises a BaseProblem that says what to do."""
        if settings.threads:
            torch.set_num_threads(settings.threads)
        files = locate(settings.base_toml, settings.base_override)
        return cls(load(files, top_layers=settings.top_layers, music_folder=settings.music), settings, make_towers)

    # -- catalogue ------------------------------------------------------------------------------

    def encode_songs(
        self,
        songs: Sequence[tuple[int, str]],
        progress: Callable[[int, int], None] = lambda done, of: None,
        batch: int = 512,
    ) -> int:
        """Encode those of (song id, song text) that are new or changed; returns how many. A kill loses one batch."""
        stale = self.vectors.stale(songs)
        stale.sort(key=lambda pair: len(pair[1]))  # like lengths together: less padding
        for start in range(0, len(stale), batch):
            part = stale[start : start + batch]
            texts = [text for _, text in part]
            self.vectors.append([song for song, _ in part], texts, self.base.encode_many(texts).numpy())
            progress(start + len(part), len(stale))
        return len(stale)

    def encoded(self) -> int:
        """How many songs have a catalogue vector."""
        return len(self.vectors.snapshot().ids)

    def word(self, text: str) -> int | None:
        """Which word of the base's domain vocabulary a song text has."""
        return None if self.base.vocabulary is None else self.base.vocabulary.find(text)

    def pieces(self, text: str) -> list[str]:
        """What the base reads a song text as, token by token; "" where that is a word of the domain vocabulary."""
        return self.base.pieces(text)

    # -- adapters -------------------------------------------------------------------------------

    def facts(self) -> LoraFacts:
        """How many numbers an adapter of this engine has, beside the base's."""
        return lora_facts(self.bank.shapes.values(), self.settings.rank, self.base.parameters)

    def adapter(self, listener: str, version: str) -> Adapter:
        """A checked adapter, kept in RAM from the first use on. Raises an AdapterProblem."""
        return self.towers.adapter(listener, version)

    def forget(self, listener: str) -> None:
        """Drop everything of a listener from RAM."""
        self.towers.forget(listener)
        self.scores.forget(listener)

    # -- tastes and lists -----------------------------------------------------------------------

    def own_vectors(self, adapter: Adapter | None, own: Sequence[Own], snapshot: Snapshot | None = None) -> Floats:
        """(n, D) of own songs through a listener's tower; what was encoded before is not encoded again."""
        if adapter is not None:
            return self.towers.own(adapter, own)
        return self._base_vectors(own, snapshot or self.vectors.snapshot())

    def _base_vectors(self, own: Sequence[Own], snapshot: Snapshot) -> Floats:
        result = np.empty((len(own), self.base.dimension), np.float32)
        rows = snapshot.row_of.find([song.id for song in own])
        result[rows >= 0] = snapshot.vectors[rows[rows >= 0]]
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            result[missing] = self.towers.own(None, [own[i] for i in missing.tolist()])
        return result

    def taste(
        self, listener: str, version: str | None, own: Sequence[Own], snapshot: Snapshot | None = None
    ) -> tuple[Taste, str | None]:
        """A listener's taste, and the version that really answered: None if the base did, also because the version
        could not be trusted."""
        snapshot, adapter = snapshot or self.vectors.snapshot(), None
        if version is not None:
            try:
                adapter = self.adapter(listener, version)
            except AdapterProblem:
                version = None
        vectors = self.own_vectors(adapter, own, snapshot)
        weights = np.array([song.weight for song in own], dtype=np.float32)
        return ranking.taste_of([s.id for s in own], vectors, weights, snapshot.mean, self.settings.rule), version

    def wish_unit(self, wish: str) -> Floats:
        """A free text as a unit, (D,), by the base whoever asks.

        An adapter has learnt from songs, and draws all that it reads to where they are (docs/decisions.md).
        """
        encoded = self.towers.texts(None, wishes.readings(wish))
        if self._requests is None:
            self._requests = wishes.middle(self.base)
        return unit(unit(encoded - self._requests).sum(axis=0))

    def score(
        self,
        listener: str,
        version: str | None,
        own: Sequence[Own],
        wish: str = "",
        wish_share: float = WISH_SHARE,
        snapshot: Snapshot | None = None,
    ) -> tuple[Floats, Taste, str | None]:
        """How well each song of the catalogue fits, (N,) in its row order; the taste; the version that answered.

        Without a wish the values are kept until the history, the version or the catalogue changes. Whoever looks up
        rows of the values hands in the snapshot they look in: meanwhile songs may come and go.
        """
        snapshot = snapshot or self.vectors.snapshot()
        asked, (taste, version) = version, self.taste(listener, version, own, snapshot)
        kept = self.scores.get(listener, version, own, snapshot)
        values = kept.values if kept else self._scored(listener, asked, version, own, taste, snapshot)
        if wish and len(snapshot.ids):
            wished = snapshot.units @ self.wish_unit(wish)
            values = wished if taste.empty else ranking.blend(values, wished, wish_share)
        return values, taste, version

    def _scored(
        self, listener: str, asked: str | None, version: str | None, own: Sequence[Own], taste: Taste, at: Snapshot
    ) -> Floats:
        values = np.zeros(len(at.ids), np.float32)
        if len(values) and not taste.empty:
            values = ranking.scores(taste, at.units)
        values.setflags(write=False)
        if version == asked:  # a version that was refused is tried again: it may have been mended
            self.scores.keep(listener, Scored.of(version, own, at, values))
        return values

    def recommend(
        self,
        listener: str,
        version: str | None,
        own: Sequence[Own],
        ask: Ask,
        artists: AskArtists,
    ) -> tuple[list[Ranked], str | None]:
        """A list with reasons over the whole catalogue, and the version that answered.

        ``artists`` gives an artist key for song ids. With neither history nor wish the list is empty.
        """
        snapshot = self.vectors.snapshot()
        values, taste, version = self.score(listener, version, own, ask.wish, ask.wish_share, snapshot)
        if (taste.empty and not ask.wish) or not len(snapshot.ids):
            return [], version
        values = ranking.ventured(values, taste, snapshot, ask.familiar, ask.adventure)
        lift_share = ask.lift_share * (1 - ask.wish_share if ask.wish else 1)
        values = ranking.lifted(values, snapshot, ask.lift, lift_share)
        rows = ranking.allowed_rows(snapshot, ask.without, ask.only)
        known = partial(self._artists_at, snapshot, ask=artists)
        picked = ranking.shortlist(values, rows, snapshot, ask, known, ask.spread * (1 + ask.adventure))
        # An adapter draws all own songs towards one place; which of them is near a song, the base still tells.
        told = taste if version is None else self.taste(listener, None, own, snapshot)[0]
        listed = [
            Ranked(int(snapshot.ids[row]), float(values[row]), ranking.reasons(told, snapshot.units[row]))
            for row in picked
        ]
        return listed, version

    def _artists_at(self, at: Snapshot, songs: Sequence[int], ask: AskArtists) -> Mapping[int, str]:
        """Artist keys by song, each asked for once while the catalogue stays: SQLite gives a deleted song's id anew."""
        known = self._artists[1] if self._artists[0] is at.mark and len(self._artists[1]) < _ARTISTS_KEPT else {}
        if missing := [song for song in songs if song not in known]:
            known.update(ask(missing))
        self._artists = (at.mark, known)
        return known

    # -- training -------------------------------------------------------------------------------

    def training_settings(self) -> TrainingSettings:
        """What was measured best for this engine's ranking rule and base: the defaults, or what was tuned since."""
        defaults = TrainingSettings.for_rule(self.settings.rule, self.settings.rank, taught=self.base.music != "none")
        return tuned.chosen_for(defaults, self.settings.tuned, self.fingerprint)

    def train(
        self,
        listener: str,
        version: str,
        own: Sequence[Own],
        *,
        seed: int,
        settings: TrainingSettings | None = None,
        start: LoraTensors | None = None,
        report: Report = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Train a new version on one listener's songs, measure it on the hidden ones, and write it to disk.

        start: an adapter to begin with, such as the circle's. Once the gate has said yes, a version goes on with
        the hidden songs too. Nothing is live afterwards: that is the caller's. Raises Cancelled.
        """
        started, snapshot = time.monotonic(), self.vectors.snapshot()
        settings = settings or self.training_settings()
        liked = [s for s in own if s.weight > 0 and s.id in snapshot.row_of]
        learn, hide = evaluation.split([s.id for s in liked], HELD_OUT_SHARE, seed)
        if len(learn) < 2:
            raise BadInput(f"{len(liked)} encoded songs are too few to learn from and to hide some")
        chosen, hidden = set(learn), set(hide)
        train = [s for s in own if s.id not in hidden]
        run = Trainer(self.base, snapshot, TrainingSongs.of(train), settings, seed, report, cancelled, start)
        trained = run.run()
        report(Progress("evaluating", 0, 0, None, None))
        songs = [s for s in liked if s.id in chosen]
        vectors = read_by(self.base, trained.network, [song.text for song in own])
        learnt = vectors[[i for i, s in enumerate(own) if s.weight > 0 and s.id in chosen]]
        measured = [self.measure(songs, hide, snapshot, found) for found in (None, learnt)]
        before, after = (replace(one, songs=tuple(hide)) for one in measured)
        verdict = evaluation.gate(before, after, proof.rounds(trained, snapshot), seed, CAUTION[self.settings.rule])
        losses, count = trained.losses, len(learn)
        if verdict.promoted and settings.refit_steps:
            run = Trainer(
                self.base, snapshot, TrainingSongs.of(own), settings.of_refit(), seed, _refitting(report), cancelled
            )
            losses += run.run(trained.network).losses
            vectors = read_by(self.base, trained.network, [song.text for song in own])
            count, after = len(liked), replace(after, learnt_since=True)
        run.stop_if_asked()
        report(Progress("saving", 0, 0, None, None))
        card = self.card(listener, version) | {
            "songs": {"learnt_from": count, "held_out": len(hide), "disliked": sum(s.weight < 0 for s in own)},
            "settings": settings_dict(settings) | {"seed": seed},
            "before": before.as_dict(),
            "after": after.as_dict(),
            "promoted": verdict.promoted,
            "seconds": round(time.monotonic() - started, 3),
            "losses": [round(x, 6) for x in losses],
        }
        folder = self.store.write(listener, version, trained.save, card)
        self.towers.leave(listener, version, own, vectors)
        seconds, facts = time.monotonic() - started, self.facts()
        return Outcome(version, verdict, before, after, losses, facts, folder.size, seconds, count)

    def card(self, listener: str, version: str) -> dict[str, Any]:
        """What every card says of the engine."""
        return {
            "listener": listener,
            "version": version,
            "base": self.base.files.name,
            "base_fingerprint": self.fingerprint,
            "music_adapter": self.base.music,
            "pooling": self.base.architecture.pooling,
            "lora": self.facts().as_dict(),
        }

    def measure(
        self, songs: Sequence[Own], hide: Sequence[int], snapshot: Snapshot, vectors: Floats | None = None
    ) -> HeldOut:
        """How hidden songs (ids) fare with others as the taste, by their vectors (n, D) or, without any, the base's."""
        vectors = self._base_vectors(songs, snapshot) if vectors is None else vectors
        weights = np.array([s.weight for s in songs], dtype=np.float32)
        taste = ranking.taste_of([s.id for s in songs], vectors, weights, snapshot.mean, self.settings.rule)
        values = ranking.scores(taste, snapshot.units)
        return evaluation.measure(values, snapshot.rows(hide), snapshot.rows([s.id for s in songs]))


def _refitting(report: Report) -> Report:
    """Tells of reading and learning once more as one phase of its own."""
    return lambda progress: report(replace(progress, phase="refitting"))
