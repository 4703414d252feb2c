"""Opens the engine and the adapters that settings name: what web process, worker, shell and cluster have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.lm.asking import Ask, Own
from app.lm.song_text import song_text
from app.services.recommending import EngineTypes
from app.settings import Settings

if TYPE_CHECKING:
    from app.lm.engine import Engine
    from app.lm.store import AdapterStore
    from app.lm.towers import MakeTowers

KINDS = EngineTypes(Own, Ask, song_text)


def open_engine(settings: Settings, threads: int = 0, make_towers: MakeTowers | None = None) -> Engine:
    """Load the base and what goes with it; imports torch. ``threads`` 0 takes every core.

    make_towers: where listeners' towers are computed, if not here. Raises a BaseProblem that says what to do.
    """
    from app.lm import tuned
    from app.lm.engine import Engine, EngineSettings

    return Engine.open(
        EngineSettings(
            base_toml=settings.models / "base.toml",
            base_override=settings.base_model,
            music=settings.music,
            vectors=settings.vectors,
            adapters=settings.adapters,
            slots=settings.slots,
            rank=settings.rank,
            cache_mb=settings.cache_mb,
            storage=settings.storage,
            storage_cache_mb=settings.storage_cache_mb,
            threads=threads,
            tuned=settings.models / tuned.FILE,
        ),
        make_towers,
    )


def open_store(settings: Settings) -> AdapterStore:
    """The adapters on disk, without a base."""
    from app.lm.shared_store import store_for

    return store_for(settings.adapters, settings.storage, settings.storage_cache_mb << 20)
