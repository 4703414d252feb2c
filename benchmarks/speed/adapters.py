"""Swapping and mixing adapters: our slots beside PEFT."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.utils.hotswap import hotswap_adapter_from_state_dict
from peft.utils.save_and_load import _insert_adapter_name_into_state_dict
from safetensors.torch import load_file

from app.lm.asking import Ask, Own
from app.lm.base import Base
from app.lm.slots import SlotBank
from app.lm.store import LoraTensors, layout
from benchmarks.speed.place import Place
from benchmarks.speed.table import Row, best, seconds

RESIDENT, MIXED, LOADED = 1000, 32, 200


def random_tensors(bank: SlotBank, seed: int) -> LoraTensors:
    """An adapter in RAM as the store hands it out."""
    flat = 0.02 * torch.randn(bank._all.shape[1], generator=torch.Generator().manual_seed(seed))
    a, b = {}, {}
    for name, (start, middle, end) in layout(bank.shapes, bank.rank).items():
        inputs, outputs = bank.shapes[name]
        a[name], b[name] = flat[start:middle].view(inputs, bank.rank), flat[middle:end].view(bank.rank, outputs)
    return LoraTensors(a, b, bank.rank, flat)


def stock(base: Base, folder: Path, count: int) -> tuple[Any, list[float]]:
    """A PeftModel with ``count`` adapters loaded by load_adapter, and the seconds that each took."""
    import copy

    network = copy.deepcopy(base.network)
    config = LoraConfig(r=8, lora_alpha=16, target_modules=list(base.targets), task_type=TaskType.FEATURE_EXTRACTION)
    made = get_peft_model(network, config, adapter_name="first").eval()
    made.save_pretrained(str(folder), selected_adapters=["first"])
    took = [
        seconds(lambda n=n: made.load_adapter(str(folder / "first"), adapter_name=f"a{n:04d}", is_trainable=False))
        for n in range(count)
    ]
    return made, took


def measure(place: Place, quick: bool) -> Iterator[Row]:
    """swap_ms, mixed32_ratio and per_listener_kb."""
    with tempfile.TemporaryDirectory() as folder:
        model, took = stock(place.engine.base, Path(folder), 20 if quick else LOADED)
        yield _swap(place, model, took, load_file(Path(folder) / "first" / "adapter_model.safetensors"))
        yield _mixed(place, model, quick)
    yield _size(place)


def _swap(place: Place, model: PeftModel, loads: list[float], state: dict[str, Any]) -> Row:
    bank = SlotBank(place.engine.base, place.engine.settings.rank, 64)
    tensors = [random_tensors(bank, seed) for seed in range(200)]
    turn = cycle(range(200))

    def ours() -> None:
        number = next(turn)  # 200 adapters in turn over 64 slots: every put is a swap
        bank.put(f"{number:016x}", tensors[number])

    # Named beforehand as hotswap_adapter names them after reading the file, so that only the swap is timed.
    state = _insert_adapter_name_into_state_dict(state, "a0001", "lora_")

    def hotswap() -> None:
        hotswap_adapter_from_state_dict(model, state, "a0001", model.peft_config["a0001"])

    for _ in range(300):
        ours()
    least = best({"ours": ours, "hotswap": hotswap}, 300)
    copy = best({"copy": lambda: torch.empty_like(tensors[0].flat).copy_(tensors[0].flat)}, 300)["copy"]  # type: ignore[arg-type]
    load = sorted(loads[-5:])[2]
    mine, theirs = 1000 * least["ours"], 1000 * least["hotswap"]
    return Row(
        "swap_ms", "adapter in RAM to answering from it", mine, "ms", "50× hotswap, 1,000× load",
        theirs / mine >= 50 and 1000 * load / mine >= 1000, theirs, "peft_hotswap_ms", "PEFT hotswap", theirs / mine,
        1000 * copy, "copying its bytes",
        {"peft_load_ms": 1000 * load, "peft_loaded": len(loads), "swap_against_load": 1000 * load / mine},
    )  # fmt: skip


def _mixed(place: Place, model: PeftModel, quick: bool) -> Row:
    base = place.engine.base
    bank = SlotBank(base, place.engine.settings.rank, RESIDENT)
    for number in range(RESIDENT):
        bank.put(f"{number:016x}", random_tensors(bank, number))
    texts = [place.texts[song] for song in place.songs[:: len(place.songs) // MIXED][:MIXED]]
    input_ids, mask = base.tokenize(texts)
    draw = torch.Generator().manual_seed(1)
    keys = [f"{int(number):016x}" for number in torch.randperm(RESIDENT, generator=draw)[:MIXED]]
    whose = [(key, random_tensors(bank, int(key, 16))) for key in keys]
    names = [f"a{n % 20:04d}" for n in range(MIXED)]

    @torch.inference_mode()
    def alone() -> None:
        base.pool(base.network(input_ids=input_ids, attention_mask=mask).last_hidden_state, mask, input_ids)

    @torch.inference_mode()
    def peft() -> None:
        found = model(input_ids=input_ids, attention_mask=mask, adapter_names=names)
        base.pool(found.last_hidden_state, mask, input_ids)

    runs = {
        "base": alone,
        "mixed": lambda: bank.encode(base.lower_of(input_ids, mask), whose),
        "peft": peft,
    }
    least = best(runs, 5 if quick else 40)
    mine, theirs = least["mixed"] / least["base"], least["peft"] / least["base"]
    return Row(
        "mixed32_ratio", "32 requests of 32 listeners of 1,000 resident, over the base's forward pass", mine, "",
        "≤1.10", mine <= 1.1, theirs, "peft_mixed32_ratio", "PEFT, mixed batch", theirs / mine, 1.0, "the base alone",
        {"mixed32_base_ms": 1000 * least["base"]},
    )  # fmt: skip


def _size(place: Place) -> Row:
    person = place.people(1, seed=41)[0]
    store, engine = place.engine.store, place.engine
    home = store.root / person.id
    disk = sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) / 1024
    tensors = engine.towers.adapter(person.id, person.version or "")[1]
    own = [Own(song, place.texts[song], 1.0) for song in person.songs]
    engine.recommend(person.id, person.version, own, Ask(20), lambda ids: {})
    kept = engine.scores.get(person.id, person.version, own, engine.vectors.snapshot())
    assert kept is not None
    vectors = engine.towers._encoded.get(f"{person.id}/{person.version}").size
    ram = (tensors.size + kept.size + vectors) / 1024
    shutil.rmtree(home)
    return Row(
        "per_listener_kb",
        "disk that an adapter adds, 100 songs (RAM below)",
        disk,
        "KB",
        "≤300 KB",
        disk <= 300 and ram <= 300,
        more={
            "per_listener_adapter_kb": tensors.size / 1024,
            "per_listener_ram_kb": ram,
        },
    )
