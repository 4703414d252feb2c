"""Take in an adapter that was trained elsewhere: only what the engine understands of it, checked like any other.

An uploaded configuration is not trusted: what is written is ours, with its rank, scale and targets. Weights are
safetensors or refused; names, shapes, finiteness and base are checked by the store's own reading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load

from app.errors import AdapterAltered, AdapterUnfit
from app.lm.store import AdapterStore

_UNLIKE = (
    "use_dora",
    "use_rslora",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
)
_CARD = ("base", "music_adapter", "pooling", "songs", "settings", "before", "after", "promoted", "lora", "seconds",
         "losses")  # fmt: skip


def adopt(
    store: AdapterStore, listener: str, version: str, weights: bytes, config: bytes, card: Mapping[str, Any],
    *, base: str, fingerprint: str, shapes: Mapping[str, tuple[int, int]], most_rank: int,
) -> int:  # fmt: skip
    """Write a version for a listener from foreign bytes; returns its size on disk.

    Raises AdapterUnfit or AdapterAltered; nothing is left behind then.
    """
    if card.get("base_fingerprint") != fingerprint:
        raise AdapterUnfit("it was trained on another base than this server's, so it cannot be used here")
    settings = _settings(config, base, shapes, most_rank)
    try:
        load(weights)
    except (SafetensorError, ValueError) as problem:
        raise AdapterAltered(f"its weights are no safetensors: {problem}") from None

    def save(folder: Path) -> None:
        (folder / "adapter_model.safetensors").write_bytes(weights)
        (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True), encoding="utf-8")

    kept = {name: card[name] for name in _CARD if name in card}
    facts = {"listener": listener, "version": version, "base_fingerprint": fingerprint, "adopted": True}
    folder = store.write(listener, version, save, kept | facts)
    try:
        store.read(listener, version, fingerprint, shapes)
    except BaseException:
        store.remove(listener, version)
        raise
    return folder.size


def _settings(config: bytes, base: str, shapes: Mapping[str, tuple[int, int]], most_rank: int) -> dict[str, Any]:
    """A plain LoRA configuration with the given one's rank and scale. Raises AdapterUnfit."""
    try:
        given = json.loads(config)
        rank, alpha = given["r"], given["lora_alpha"]
        odd = [name for name in _UNLIKE if given.get(name)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise AdapterUnfit(f"its configuration cannot be read: {problem}") from None
    if given.get("peft_type") != "LORA" or odd:
        raise AdapterUnfit(f"it is no plain LoRA ({odd[0] if odd else given.get('peft_type')})")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= most_rank:
        raise AdapterUnfit(f"its rank {str(rank)[:20]} is not between 1 and {most_rank}, this server's")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= 1e6:
        raise AdapterUnfit(f"its lora_alpha {str(alpha)[:20]} is no positive number")
    return {
        "base_model_name_or_path": base, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "init_lora_weights": True, "lora_alpha": alpha, "lora_dropout": 0.0, "peft_type": "LORA", "r": rank,
        "target_modules": sorted(shapes), "task_type": "FEATURE_EXTRACTION",
    }  # fmt: skip
