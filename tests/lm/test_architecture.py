"""Any encoder or decoder as the base: what follows from its config, and that the two halves are the whole."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MPNetConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
)

from app.errors import BaseUnsupported
from app.lm.asking import Own
from app.lm.base import Base
from app.lm.engine import Engine, EngineSettings
from app.lm.slots import SlotBank
from app.lm.trainer import TrainingSettings

from .making import LONG_TEXT, NOWHERE, TEXTS, load_folder, merged, random_lora, save_tiny_base, shape_of_base

ENCODER = shape_of_base()
DECODER = ENCODER | {"num_key_value_heads": 2, "bos_token_id": 2, "eos_token_id": 3}  # grouped-query attention
MIXED = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2}
CONFIGS: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**ENCODER),
    "roberta": RobertaConfig(**ENCODER | {"pad_token_id": 1}),
    "mpnet": MPNetConfig(**ENCODER | {"pad_token_id": 1}),
    "distilbert": DistilBertConfig(
        vocab_size=400, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=96, pad_token_id=0
    ),
    "llama": LlamaConfig(**DECODER),
    "qwen2": Qwen2Config(**DECODER),
    "qwen2-sliding": Qwen2Config(**DECODER, **MIXED),
    "qwen3": Qwen3Config(**DECODER, head_dim=8),
    "mistral": MistralConfig(**DECODER, sliding_window=8),
}
BERT_LIKE = ("attention.self.query", "attention.self.value", "attention.output.dense")
QUERY_VALUE_AND_OUTPUT = {
    "bert": ("encoder.layer", BERT_LIKE),
    "roberta": ("encoder.layer", BERT_LIKE),
    "mpnet": ("encoder.layer", ("attention.attn.q", "attention.attn.v", "attention.attn.o")),
    "distilbert": ("transformer.layer", ("attention.q_lin", "attention.v_lin", "attention.out_lin")),
}
DECODERS_QUERY_VALUE_AND_OUTPUT = ("layers", ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj"))
DECODERS = {"llama", "qwen2", "qwen2-sliding", "qwen3", "mistral"}
LISTENER, VERSION = "0" * 15 + "a", "0" * 15 + "1"
BRIEF = TrainingSettings(rank=4, steps=2, songs_a_step=4)


@pytest.fixture(scope="module", params=CONFIGS)
def kind(request: pytest.FixtureRequest) -> str:
    """The name of an architecture."""
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random base of that architecture on disk."""
    return save_tiny_base(tmp_path_factory.mktemp(kind), CONFIGS[kind])


@pytest.fixture(scope="module")
def any_base(folder: Path) -> Base:
    """The same, loaded."""
    return load_folder(folder)


@pytest.mark.parametrize("top_layers", [1, 2, 9])
def test_targets_are_the_query_value_and_output_projections_of_the_top_layers(
    kind: str, any_base: Base, top_layers: int
) -> None:
    stack, names = QUERY_VALUE_AND_OUTPUT.get(kind, DECODERS_QUERY_VALUE_AND_OUTPUT)
    layers = (0, 1, 2)[-top_layers:]
    found = any_base.architecture.targets(any_base.network, top_layers)
    assert sorted(found) == sorted(f"{stack}.{layer}.{name}" for layer in layers for name in names)


def test_the_last_layer_alone_is_adapted_unless_told_otherwise(any_base: Base) -> None:
    assert any_base.top_layers == 1
    assert any_base.targets == any_base.architecture.targets(any_base.network, 1)


def test_how_many_layers_are_adapted_makes_no_other_base_and_no_other_vectors(folder: Path, any_base: Base) -> None:
    more = load_folder(folder, top_layers=2)
    assert len(more.targets) == 2 * len(any_base.targets)
    assert more.fingerprint == any_base.fingerprint
    assert torch.equal(more.encode(TEXTS), any_base.encode(TEXTS))


def test_encoders_pool_by_the_mean_and_decoders_by_the_last_token(kind: str, any_base: Base) -> None:
    assert any_base.architecture.decoder == (kind in DECODERS)
    assert any_base.architecture.pooling == ("last" if kind in DECODERS else "mean")


def test_a_text_has_the_same_vector_alone_as_beside_longer_ones(any_base: Base) -> None:
    together = any_base.encode(TEXTS)
    alone = torch.cat([any_base.encode([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_threads_that_tokenise_at_once_never_pad_each_others_texts(any_base: Base) -> None:
    masks = [mask for _, _, mask in any_base.groups(TEXTS)]
    ids = any_base.tokenize(TEXTS)[0]
    together = threading.Barrier(4)

    def in_batches() -> int:
        together.wait()
        return sum(
            not all(map(torch.equal, masks, (mask for _, _, mask in any_base.groups(TEXTS)))) for _ in range(200)
        )

    def padded() -> int:
        together.wait()
        return sum(not torch.equal(any_base.tokenize(TEXTS)[0], ids) for _ in range(200))

    pause = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # a thread is interrupted wherever it can be
    try:
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(work) for work in (in_batches, padded, in_batches, padded)]
            assert [run.result() for run in runs] == [0, 0, 0, 0]
    finally:
        sys.setswitchinterval(pause)


def test_different_texts_have_different_unit_vectors(any_base: Base) -> None:
    vectors = any_base.encode(TEXTS)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(TEXTS)))
    assert torch.pdist(vectors).min() > 1e-3


@pytest.mark.parametrize("top_layers", [1, 2, 3])
def test_the_lower_and_the_upper_half_together_are_the_whole(folder: Path, top_layers: int) -> None:
    base = load_folder(folder, top_layers=top_layers)
    texts = [*TEXTS, LONG_TEXT]
    halves = SlotBank(base, rank=2, slots=1).encode(base.lower(texts), [None] * len(texts))
    torch.testing.assert_close(halves, base.encode(texts), atol=1e-5, rtol=0)


def test_an_adapter_in_a_slot_is_that_adapter_in_the_weights(any_base: Base) -> None:
    bank = SlotBank(any_base, rank=4, slots=2)
    lora = random_lora(bank.shapes, rank=3, seed=1)
    through = bank.encode(any_base.lower(TEXTS), [("a", lora)] * len(TEXTS))
    torch.testing.assert_close(through, merged(any_base, lora).encode(TEXTS), atol=1e-5, rtol=0)
    assert (through - any_base.encode(TEXTS)).abs().max() > 1e-3


def test_what_is_trained_is_read_back_by_the_store_and_by_stock_peft(
    folder: Path, any_base: Base, tmp_path: Path
) -> None:
    settings = EngineSettings(NOWHERE, vectors=tmp_path / "v", adapters=tmp_path / "a", slots=2, rank=4)
    engine = Engine(any_base, settings)
    texts = [f"{text} {turn}" for turn in range(4) for text in TEXTS]
    engine.encode_songs(list(enumerate(texts, start=1)))
    own = [Own(i, texts[i - 1], 1.0) for i in range(1, 13)]
    outcome = engine.train(LISTENER, VERSION, own, seed=1, settings=BRIEF)
    assert len(outcome.losses) == BRIEF.steps

    ours = engine.own_vectors(engine.adapter(LISTENER, VERSION), own)
    stock = PeftModel.from_pretrained(
        AutoModel.from_pretrained(folder, dtype=torch.float32), engine.store.folder(LISTENER, VERSION).path
    ).eval()
    ids, mask = any_base.tokenize([song.text for song in own])
    with torch.inference_mode():
        theirs = any_base.pool(stock(input_ids=ids, attention_mask=mask).last_hidden_state, mask)
    torch.testing.assert_close(torch.from_numpy(ours), theirs, atol=3e-4, rtol=0)  # kept in float16
    assert (theirs - any_base.encode([song.text for song in own])).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("stated", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
    ],
)
def test_a_folder_that_states_its_pooling_is_believed(tmp_path: Path, stated: dict[str, bool], pooling: str) -> None:
    save_tiny_base(tmp_path, CONFIGS["bert"])
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    base = load_folder(tmp_path)
    assert base.architecture.pooling == pooling
    ids, mask = base.tokenize(TEXTS)
    hidden = base.network(input_ids=ids, attention_mask=mask).last_hidden_state
    lengths = mask.sum(dim=1).tolist()
    by_hand = {
        "cls": [row[0] for row in hidden],
        "last": [row[n - 1] for row, n in zip(hidden, lengths, strict=True)],
        "mean": [row[:n].mean(dim=0) for row, n in zip(hidden, lengths, strict=True)],
    }[pooling]
    expected = torch.nn.functional.normalize(torch.stack(by_hand), dim=1)
    torch.testing.assert_close(base.encode(TEXTS), expected, atol=1e-5, rtol=0)


def test_the_real_base_is_cut_where_its_config_says(base: Base) -> None:
    assert base.architecture.pooling == "mean"
    assert base.dimension == 384
    assert base.targets == [
        f"encoder.layer.5.attention.{name}" for name in ("self.query", "self.value", "output.dense")
    ]
    halves = SlotBank(base, rank=2, slots=1).encode(base.lower(TEXTS), [None] * len(TEXTS))
    torch.testing.assert_close(halves, base.encode(TEXTS), atol=1e-5, rtol=0)


def test_a_base_without_linear_projections_is_refused_by_name(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=400, n_embd=32, n_layer=3, n_head=4, n_positions=96, bos_token_id=2, eos_token_id=3)
    save_tiny_base(tmp_path, config)
    with pytest.raises(BaseUnsupported, match=r"GPT2Model.*BERT-, RoBERTa-, MPNet- and Llama-like"):
        load_folder(tmp_path)


def test_copies_for_slots_and_training_share_every_tensor_with_the_base(any_base: Base) -> None:
    own = {parameter.data_ptr() for parameter in any_base.network.parameters()}
    assert {parameter.data_ptr() for parameter in any_base.upper_network().parameters()} <= own
