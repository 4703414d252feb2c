"""Parts that the tests of the taste engine build: tiny bases, random adapters, small catalogues."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import AutoModel, PretrainedConfig, PreTrainedTokenizerFast

from app.lm.base import Base, load
from app.lm.locate import locate
from app.lm.precision import packs
from app.lm.store import AdapterFolder, AdapterStore, LoraTensors
from app.lm.vectors import Floats, Snapshot, snapshot_of, unit

needs_bfloat16 = pytest.mark.skipif(not packs(), reason="this processor has no products in bfloat16")

NOWHERE = Path("there-is-no-base.toml")
TEXTS = [
    "Sinnerman by Nina Simone. jazz, soul, driving. 1965",
    "One by U2",
    "Paranoid by Black Sabbath. heavy metal, rebellious. 1970",
    "Autobahn by Kraftwerk. electronic, krautrock, hypnotic, a very long way to go by night and by day. 1974",
    "Björk",
    "Jolene by Dolly Parton. country, heartbreak",
]
LONG_TEXT = "a song " * 100


def shape_of_base() -> dict[str, Any]:
    """Config values of a base that is built and run in milliseconds."""
    return {
        "vocab_size": 400,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 96,
        "pad_token_id": 0,
    }


def save_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer of 300 tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    learner = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, learner)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)


def save_tiny_base(folder: Path, config: PretrainedConfig, seed: int = 0) -> Path:
    """A random base with its tokenizer, as a folder from the hub looks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AutoModel.from_config(config)
        with torch.no_grad():
            for parameter in network.parameters():  # far from the initial scale, so that mistakes show
                parameter.add_(0.2 * torch.randn_like(parameter))
        network.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def begins_texts(folder: Path) -> Path:
    """Have a tiny base's tokenizer put a token first and one last, as BERT's does."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ends = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings |= {"cls_token": "<s>", "sep_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def load_folder(folder: Path, **more: Any) -> Base:
    """A base by its folder, as EARSHOT_BASE_MODEL names it."""
    return load(locate(NOWHERE, str(folder)), **more)


def shapes_of(base: Base) -> dict[str, tuple[int, int]]:
    """(in, out) of every adapted matrix."""
    found = {}
    for name in base.targets:
        module = base.network.get_submodule(name)
        assert isinstance(module, torch.nn.Linear)
        found[name] = (module.in_features, module.out_features)
    return found


def random_lora(shapes: Mapping[str, tuple[int, int]], rank: int, seed: int) -> LoraTensors:
    """An adapter that moves every vector a good deal."""
    random = torch.Generator().manual_seed(seed)
    a = {name: torch.randn(i, rank, generator=random) / i**0.5 for name, (i, _) in shapes.items()}
    b = {name: torch.randn(rank, o, generator=random) / rank**0.5 for name, (_, o) in shapes.items()}
    return LoraTensors(a, b, rank)


def merged(base: Base, lora: LoraTensors) -> Base:
    """The reference: a whole base with the adapter added to its weights, no slots and no cut."""
    network = copy.deepcopy(base.network)
    for name in base.targets:
        module = network.get_submodule(name)
        assert isinstance(module, torch.nn.Linear)
        with torch.no_grad():
            module.weight += (lora.a[name] @ lora.b[name]).T
    return Base(base.files, network, base.tokenizer, base.top_layers, base.music, base.vocabulary)


def peft_with_random_lora(network: Any, targets: Sequence[str], rank: int, seed: int, alpha: int = 16) -> Any:
    """Stock PEFT around a network, with A and B both random."""
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), task_type=TaskType.FEATURE_EXTRACTION)
    adapted = get_peft_model(network, config)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=random))
    return adapted.eval()


def peft_tensors(shapes: Mapping[str, tuple[int, int]], rank: int, seed: int) -> dict[str, Tensor]:
    """Random LoRA tensors by the names that PEFT gives them."""
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (inputs, outputs) in shapes.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = torch.randn(rank, inputs, generator=random)
        tensors[f"base_model.model.{name}.lora_B.weight"] = torch.randn(outputs, rank, generator=random)
    return tensors


def write_adapter(
    store: AdapterStore,
    listener: str,
    version: str,
    tensors: Mapping[str, Tensor],
    *,
    fingerprint: str,
    rank: int,
    config: Mapping[str, Any] | None = None,
) -> AdapterFolder:
    """A version through the store itself, so that its digests are right whatever its tensors are."""

    def save(folder: Path) -> None:
        save_file(dict(tensors), folder / "adapter_model.safetensors")
        settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, **(config or {})}
        (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")

    return store.write(listener, version, save, {"base_fingerprint": fingerprint})


def random_units(count: int, dimension: int, seed: int, centre: float = 0.5) -> Floats:
    """Unit rows that lean one way, as a real base's do."""
    random = np.random.default_rng(seed)
    return unit(random.normal(size=(count, dimension)).astype(np.float32) + np.float32(centre))


def catalogue_of(vectors: Floats, first_id: int = 1) -> Snapshot:
    """A catalogue of these rows, with ids from ``first_id`` on."""
    ids = np.arange(first_id, first_id + len(vectors), dtype=np.int64)
    return snapshot_of(ids, vectors)


def flip_byte(path: Path, at: int) -> None:
    """Change one byte of a file in place; negative counts from the end."""
    with path.open("r+b") as stream:
        stream.seek(at, 0 if at >= 0 else 2)
        byte = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([byte[0] ^ 0x40]))
