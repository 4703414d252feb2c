"""The domain vocabulary: a song text's word is found by its artist, and says what the layers cannot."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel

from app.errors import AdapterUnfit
from app.lm import base as base_module
from app.lm.base import MAX_TOKENS, Base
from app.lm.precision import packs
from app.lm.slots import SlotBank
from app.lm.song_text import song_text
from app.lm.vocabulary import FILE, SONG_SHARE, Vocabulary, digest, packed

from .making import TEXTS, load_folder, merged, peft_with_random_lora, random_lora, shapes_of

NAMES = ["Nina Simone", "Ben E. King", "Ben E", "Dr. Dre", "The The", "Sigur Rós", "Low", "Death by Stereo", "Stereo"]
SIZE = 32


def steps(seed: int = 0) -> dict[str, Tensor]:
    """What each word adds, all of them leaning one way as popular artists' do."""
    random = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(SIZE, generator=random) / SIZE**0.5 + 0.05 for name in NAMES}


@pytest.fixture(scope="module")
def music(first_token_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A music adapter with a vocabulary beside it."""
    made = tmp_path_factory.mktemp("music")
    network = AutoModel.from_pretrained(first_token_folder, dtype=torch.float32)
    peft_with_random_lora(network, ["encoder.layer.2.output.dense"], 3, seed=5).save_pretrained(str(made))
    (made / FILE).write_bytes(packed(steps()))
    return made


@pytest.fixture(scope="module")
def plain(first_token_folder: Path, music: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The base with that music adapter and no words."""
    bare = tmp_path_factory.mktemp("bare") / "music"
    shutil.copytree(music, bare)
    (bare / FILE).unlink()
    return load_folder(first_token_folder, music_folder=bare)


@pytest.fixture(scope="module")
def wordy(first_token_folder: Path, music: Path) -> Base:
    return load_folder(first_token_folder, music_folder=music)


@pytest.fixture(scope="module")
def vocabulary(music: Path) -> Vocabulary:
    found = Vocabulary.beside(music)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("artist", "title"),
    [
        ("Ben E. King", "Stand by Me"),
        ("Ben E. King", "Spanish Harlem"),
        ("Ben E", "Stand by Me"),
        ("Death by Stereo", "Wasted Words"),
        ("Stereo", "Somewhere"),
        ("Dr. Dre", "Keep Their Heads Ringin'"),
        ("Low", "Songs by Nina Simone"),
        ("the the", "This Is the Day"),
        ("NINA  SIMONE", "Sinnerman. Live"),
        ("Sigur Rós", "()"),
    ],
)
def test_a_word_is_found_whatever_the_names_hold(vocabulary: Vocabulary, artist: str, title: str) -> None:
    row = vocabulary.row_of[digest(artist)]
    for more in ({}, {"genres": ["soul"], "year": 1961}, {"moods": ["songs to drive by night"]}):
        word = vocabulary.find(song_text(artist, title, **more))
        assert word == (row + len(vocabulary) if title else row)


@pytest.mark.parametrize("artist", ["Nina Simone", "Dr. Dre", "Ben E", "the low"])
def test_an_artists_own_entry_has_their_word_and_a_name_alone_has_none(vocabulary: Vocabulary, artist: str) -> None:
    for more in ({"genres": ["soul"]}, {"year": 1961}, {"moods": ["calm"], "year": 1990}):
        assert vocabulary.find(song_text(artist, "", **more)) == vocabulary.row_of[digest(artist)]
    assert vocabulary.find(song_text(artist, "")) is None, "who asks for something low does not ask for Low"


def test_the_longest_name_that_an_entry_begins_with_counts(vocabulary: Vocabulary) -> None:
    assert (
        vocabulary.find(song_text("Ben E. King", "", ["soul"], year=1961)) == vocabulary.row_of[digest("Ben E. King")]
    )


@pytest.mark.parametrize(
    "text", ["", "Nina", "Sinnerman", "Simone by Nina", "a low sun", "soul. Low", "Nina Simone Tribute. soul", "Lo w"]
)
def test_what_names_no_known_artist_has_no_word(vocabulary: Vocabulary, text: str) -> None:
    assert vocabulary.find(text) is None


def test_an_artist_gets_the_whole_word_and_a_song_half_of_what_tells_it_from_others(wordy: Base, plain: Base) -> None:
    texts = ["Nina Simone. jazz", "Sinnerman by Nina Simone", "Sinnerman by Björk", "Björk"]
    added = steps()["Nina Simone"]
    middle = torch.stack(list(steps().values())).mean(0)
    before, after = plain.encode(texts), wordy.encode(texts)
    for row, step in ((0, added), (1, SONG_SHARE * (added - middle))):
        torch.testing.assert_close(after[row], normalize(before[row] + step, dim=0), atol=2e-3, rtol=0)
        assert (after[row] - before[row]).abs().max() > 2e-2
    assert torch.equal(after[2:], before[2:])


def test_every_way_to_read_a_text_reads_its_word(wordy: Base, plain: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*TEXTS, "Low. slowcore", "Sunflower by Low", "Stand by Me by Ben E. King. soul"]
    alone = torch.cat([wordy.encode([text]) for text in texts])
    torch.testing.assert_close(wordy.encode(texts), alone, atol=1e-5, rtol=0)
    assert wordy.tokenize(texts)[1].equal(plain.tokenize(texts)[1]), "a word makes no text longer"

    bank = SlotBank(wordy, rank=2, slots=2)
    torch.testing.assert_close(bank.encode(wordy.lower(texts), [None] * len(texts)), alone, atol=1e-5, rtol=0)
    lora = random_lora(shapes_of(wordy), 2, seed=1)
    through = bank.encode(wordy.lower(texts), [("a", lora)] * len(texts))
    whole = merged(plain, lora).encode(texts)
    words = torch.tensor([-1 if (w := wordy.vocabulary.find(t)) is None else w for t in texts])  # type: ignore[union-attr]
    assert wordy.vocabulary is not None and (words >= 0).sum() == 4
    torch.testing.assert_close(through, wordy.vocabulary.add(whole, words), atol=1e-5, rtol=0)
    assert ((through - whole).abs().amax(dim=1) > 1e-2).equal(words >= 0)

    monkeypatch.setattr(base_module, "measured", lambda: "bfloat16" if packs() else "float32")
    monkeypatch.setattr(wordy, "_precision", None)
    many = wordy.encode_many(texts * 10)
    assert (many * alone.repeat(10, 1)).sum(dim=1).min() > 0.99


def test_a_text_is_shown_as_it_is_read(wordy: Base, plain: Base) -> None:
    for text in ("Sunflower by Low", "Sunflower by Björk"):
        pieces, known = wordy.pieces(text), text.endswith("Low")
        assert pieces == ["" if known else "<s>", *plain.pieces(text)[1:]]
        assert plain.pieces(text)[0] == "<s>" and plain.pieces(text)[-1] == "</s>"


def test_gradients_reach_an_adapter_through_a_word(wordy: Base) -> None:
    lower = wordy.lower(["Sunflower by Low"])
    hidden = lower.hidden.clone().requires_grad_(True)
    vectors = wordy.upper(wordy.upper_network(), dataclasses.replace(lower, hidden=hidden))
    vectors[0, 0].backward()
    assert hidden.grad is not None and hidden.grad.abs().max() > 0


def test_stock_peft_and_the_words_give_our_vectors(first_token_folder: Path, music: Path, wordy: Base) -> None:
    stock = PeftModel.from_pretrained(AutoModel.from_pretrained(first_token_folder, dtype=torch.float32), music).eval()
    read = wordy.tokenizer(TEXTS, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    with torch.inference_mode():
        hidden = stock(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).last_hidden_state
    file = load_file(music / FILE)
    step = (file["codes"] * file["scales"][:, None]) @ file["basis"].float()
    words = torch.cat([step + file["middle"], SONG_SHARE * step, 0 * step[:1]])
    vocabulary = wordy.vocabulary
    assert vocabulary is not None
    found = [vocabulary.find(text) for text in TEXTS]
    assert any(word is not None for word in found)
    theirs = wordy.pool(hidden, read["attention_mask"]) + words[[-1 if word is None else word for word in found]]
    torch.testing.assert_close(wordy.encode(TEXTS), normalize(theirs, dim=1), atol=1e-4, rtol=0)


def test_words_are_part_of_what_base_it_is(
    first_token_folder: Path, music: Path, wordy: Base, plain: Base, tmp_path: Path
) -> None:
    assert wordy.fingerprint != plain.fingerprint and wordy.music == plain.music
    shutil.copytree(music, tmp_path / "other")
    (tmp_path / "other" / FILE).write_bytes(packed(steps(seed=1)))
    assert load_folder(first_token_folder, music_folder=tmp_path / "other").fingerprint != wordy.fingerprint


def test_the_file_is_the_same_whatever_order_words_come_in_and_names_no_one() -> None:
    words = steps()
    file = packed(words)
    assert file == packed(dict(reversed(words.items())))
    assert not any(name.encode() in file or name.lower().encode() in file for name in NAMES)


def test_what_is_read_is_what_was_packed_to_a_hundredth(vocabulary: Vocabulary) -> None:
    assert len(vocabulary) == len(NAMES)
    for name, step in steps().items():
        row = vocabulary.row_of[digest(name)]
        read = (vocabulary.codes[row] * vocabulary.scales[row]) @ vocabulary.basis + vocabulary.middle
        assert (read - step).abs().max() <= step.abs().max() / 100


def a_tensor_gone(tensors: dict[str, Tensor]) -> None:
    del tensors["scales"]


def rows_gone(tensors: dict[str, Tensor]) -> None:
    tensors["codes"] = tensors["codes"][1:].contiguous()


def directions_gone(tensors: dict[str, Tensor]) -> None:
    tensors["basis"] = tensors["basis"][1:].contiguous()


def not_finite(tensors: dict[str, Tensor]) -> None:
    tensors["scales"][2] = float("nan")


def of_another_base(tensors: dict[str, Tensor]) -> None:
    tensors["basis"], tensors["middle"] = tensors["basis"][:, :7].contiguous(), torch.zeros(7)


@pytest.mark.parametrize("change", [a_tensor_gone, rows_gone, directions_gone, not_finite, of_another_base])
def test_a_misfit_is_refused(
    first_token_folder: Path, music: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], None]
) -> None:
    shutil.copytree(music, tmp_path / "music")
    tensors = load_file(music / FILE)
    change(tensors)
    save_file(tensors, tmp_path / "music" / FILE)
    with pytest.raises(AdapterUnfit, match="vocabulary"):
        load_folder(first_token_folder, music_folder=tmp_path / "music")


def test_half_a_file_is_refused_by_name(first_token_folder: Path, music: Path, tmp_path: Path) -> None:
    shutil.copytree(music, tmp_path / "music")
    (tmp_path / "music" / FILE).write_bytes((music / FILE).read_bytes()[:100])
    with pytest.raises(AdapterUnfit, match=rf"{FILE} is truncated"):
        load_folder(first_token_folder, music_folder=tmp_path / "music")


def test_a_base_whose_texts_have_no_first_token_is_refused(tiny_folder: Path, music: Path) -> None:
    with pytest.raises(AdapterUnfit, match="another base"):
        load_folder(tiny_folder, music_folder=music)
