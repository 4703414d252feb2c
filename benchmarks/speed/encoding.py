"""Song texts encoded a second: our way of reading a catalogue beside sentence-transformers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.lm.base import Base
from benchmarks.speed.place import Place
from benchmarks.speed.table import Row, best


def stock(base: Base) -> Any:
    """sentence-transformers around the very same weights, in float32."""
    from sentence_transformers import SentenceTransformer

    with tempfile.TemporaryDirectory() as folder:
        base.network.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)
        pooling = {"word_embedding_dimension": base.dimension, "pooling_mode_mean_tokens": True}
        (Path(folder) / "1_Pooling").mkdir()
        (Path(folder) / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        parts = [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ]
        (Path(folder) / "modules.json").write_text(json.dumps(parts))
        (Path(folder) / "2_Normalize").mkdir()
        return SentenceTransformer(folder, device="cpu")


def measure(place: Place, quick: bool) -> Iterator[Row]:
    """encode_per_s."""
    base = place.engine.base
    count = 256 if quick else 2048
    texts = [place.texts[song] for song in place.songs[:: max(1, len(place.songs) // count)][:count]]
    theirs_model = stock(base)
    kept: dict[str, Any] = {}

    def ours() -> None:
        kept["ours"] = base.encode_many(texts).numpy()

    def theirs() -> None:
        kept["theirs"] = theirs_model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    least = best({"ours": ours, "theirs": theirs}, 2 if quick else 4)
    kept["theirs"] = _with_words(base, kept["theirs"], texts)
    cosines = (kept["ours"] * kept["theirs"]).sum(axis=1)
    tokens = int(base.tokenize(texts)[1].sum())
    peak = _multiplications(base, base.precision)
    needed = sum(p.numel() for n, p in base.network.named_parameters() if p.ndim == 2 and "embeddings" not in n)
    mine, stock_rate = len(texts) / least["ours"], len(texts) / least["theirs"]
    return iter([Row(
        "encode_per_s", f"song texts encoded a second ({base.precision})", mine, "/s", "≥2.5× where there is bf16",
        mine / stock_rate >= 2.5 or base.precision == "float32", stock_rate, "stock_encode_per_s",
        "sentence-transformers, float32", mine / stock_rate, peak / (2 * needed * tokens / len(texts)),
        "matrix products alone",
        {"encode_least_cosine": float(cosines.min()), "encode_same_top20": _same_top(kept["ours"], kept["theirs"])},
    )])  # fmt: skip


def _with_words(base: Base, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Vectors (n, D) of the layers alone with the words of the domain vocabulary added, as ours have them."""
    if base.vocabulary is None:
        return vectors
    words = torch.tensor([-1 if (word := base.vocabulary.find(text)) is None else word for text in texts])
    return base.vocabulary.add(torch.from_numpy(vectors), words).numpy()


def _same_top(ours: np.ndarray, theirs: np.ndarray, count: int = 20) -> float:
    """Share of the 20 nearest by one that are the 20 nearest by the other."""
    lists = []
    for vectors in (ours, theirs):
        units = vectors - vectors.mean(axis=0)
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        lists.append(np.argsort(-(units @ units.T), axis=1)[:, 1 : count + 1])
    return float(np.mean([len(set(a) & set(b)) / count for a, b in zip(*lists, strict=True)]))


def _multiplications(base: Base, precision: str) -> float:
    """Floating point operations a second of one of the base's own products, at its best."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    rows, weights = torch.randn(2048, 384, dtype=kind), torch.randn(1536, 384, dtype=kind)
    least = best({"product": lambda: torch.nn.functional.linear(rows, weights)}, 30)["product"]
    return 2 * rows.numel() * weights.shape[0] / least
