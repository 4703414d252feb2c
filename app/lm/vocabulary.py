"""The domain vocabulary: words for artists, whom the pre-trained vocabulary knows in pieces only.

"Boards of Canada" is three words to a language model, none of them about music. A word of the vocabulary is an artist:
its embedding is added to what the layers made of the text, and says how far listeners put the artist from there
(docs/decisions.md). It stands first among a text's tokens, in the place of the tokenizer's own first token, whose input
embedding it shares: so a text is as long as before, and whoever has the tokens knows the word.

Names are kept as digests: the file says nothing of whom it knows to somebody who does not ask for a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from app.errors import AdapterUnfit
from app.lm.locate import sha256_of
from app.lm.song_text import BY, PART, artist_key

FILE = "vocabulary.safetensors"
SONG_SHARE = 0.5  # of its artist's word in a song's vector (docs/decisions.md)
_TENSORS = ("keys", "codes", "scales", "basis", "middle")
_MOST_PARTS = 6  # of a text among which a name is looked for


class Vocabulary:
    """Words as rows. keys: (n,) int64 digests of names; middle: (D,), the mean of what words add; codes: (n, k) int8,
    scales: (n,) and basis: (k, D), the rest of it: codes · scales · basis (two thin matrices, as in ALBERT, Lan et al.
    2020).

    A text's word is its artist's row if the text is an artist's own, n + row if it is a song by the artist.
    Raises AdapterUnfit for shapes that do not belong together and values that are not finite.
    """

    def __init__(self, tensors: Mapping[str, Tensor], sha256: str) -> None:
        try:
            keys, codes, scales, basis, middle = (tensors[name] for name in _TENSORS)
        except KeyError as missing:
            raise AdapterUnfit(f"The vocabulary lacks {missing}.") from None
        shapes = {name: tuple(tensors[name].shape) for name in _TENSORS}
        if not keys.ndim == 1 == middle.ndim or scales.shape != keys.shape or basis.shape[1:] != middle.shape:
            raise AdapterUnfit(f"The vocabulary has tensors that do not belong together: {shapes}.")
        if codes.shape != (len(keys), len(basis)):
            raise AdapterUnfit(f"The vocabulary has tensors that do not belong together: {shapes}.")
        if not all(tensor.isfinite().all() for tensor in (scales, basis, middle)):
            raise AdapterUnfit("The vocabulary has values that are not finite.")
        self.sha256 = sha256
        self.codes, self.scales, self.basis, self.middle = codes, scales.float(), basis.float(), middle.float()
        self.row_of: dict[int, int] = {int(key): row for row, key in enumerate(keys)}

    @classmethod
    def beside(cls, folder: Path) -> Vocabulary | None:
        """The vocabulary of a music adapter's folder, if it has one. Raises AdapterUnfit."""
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            return cls(load_file(path), sha256_of(path))
        except SafetensorError as problem:
            raise AdapterUnfit(f"The vocabulary {path} is truncated or altered ({problem}). Restore it.") from problem

    def __len__(self) -> int:
        return len(self.row_of)

    def find(self, text: str) -> int | None:
        """The word of a song text: of the artist after "by", else of the artist whose name more parts follow.

        Names may hold what separates parts ("Ben E. King"), so the longest that is known counts. A name and nothing
        else may be a wish, and who asks for "sleep" does not ask for Sleep.
        """
        for name, titled in _names(text):
            row = self.row_of.get(digest(name))
            if row is not None:
                return row + len(self) * titled
        return None

    def add(self, vectors: Tensor, words: Tensor) -> Tensor:
        """Unit vectors (B, D) with their words, (B,), negative where a text has none; again of length 1."""
        have, rows = (words >= 0)[:, None], words.clamp(min=0).to(self.codes.device) % len(self)
        step = (self.codes[rows].float() * self.scales[rows, None]) @ self.basis
        titled = (words >= len(self)).to(self.codes.device)[:, None]
        step = torch.where(titled, SONG_SHARE * step, step + self.middle).to(vectors)
        return torch.where(have, nn.functional.normalize(vectors + step, dim=-1), vectors)


def digest(name: str) -> int:
    """64 bits of an artist's name, in whatever spelling."""
    hashed = hashlib.blake2b(artist_key(name).encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "little", signed=True)


def _names(text: str) -> Iterator[tuple[str, bool]]:
    """What may be the artist's name in a song text, likeliest first, and whether a title stands before it."""
    parts = text.split(PART, _MOST_PARTS)
    for count in range(len(parts), 0, -1):
        head = PART.join(parts[:count])
        pieces = head.split(BY)
        for start in range(1, len(pieces)):
            yield BY.join(pieces[start:]), True
    for count in range(len(parts) - 1, 0, -1):
        yield PART.join(parts[:count]), False


def packed(names: Mapping[str, Tensor]) -> bytes:
    """A vocabulary's file: for each name what its word adds, (D,). The same words give the same bytes.

    What is kept of it lies along the first D / 2 principal directions of all words: the rest is not missed
    (docs/decisions.md).
    """
    words = sorted(names, key=digest)
    added = torch.stack([names[name] for name in words]).float()
    middle = added.mean(0)
    basis = torch.linalg.svd(added - middle, full_matrices=False).Vh[: added.shape[1] // 2].to(torch.bfloat16)
    codes = (added - middle) @ basis.float().T
    scales = codes.abs().amax(dim=1).clamp(min=1e-9) / 127
    tensors = {
        "keys": torch.tensor([digest(name) for name in words], dtype=torch.int64),
        "codes": (codes / scales[:, None]).round().to(torch.int8), "scales": scales,
        "basis": basis.contiguous(), "middle": middle,
    }  # fmt: skip
    file: bytes = save(tensors)
    return file


def has_first_token(tokenizer: Any) -> bool:
    """Whether texts begin with a token that is the same for all, in whose place a word may stand."""
    first: list[int] = tokenizer("")["input_ids"][:1]
    return tokenizer.cls_token_id is not None and first == [tokenizer.cls_token_id]


class _Widened(nn.Embedding):
    """A network's input embedding that takes any word of a vocabulary for the tokenizer's first token."""

    first_token: int

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) to (B, T, D)."""
        return super().forward(input_ids.masked_fill(input_ids >= self.num_embeddings, self.first_token))


def reads_words(network: Any, tokenizer: Any, vocabulary: Vocabulary) -> int:
    """Have a network read the words of a vocabulary; returns the token id of the first of them.

    Raises AdapterUnfit for vectors of another size, and if texts do not begin with a token of their own.
    """
    table = network.get_input_embeddings()
    if not has_first_token(tokenizer) or len(vocabulary.middle) != network.config.hidden_size:
        raise AdapterUnfit("The vocabulary beside the music adapter was made for another base.")
    widened = _Widened(
        table.num_embeddings, table.embedding_dim, padding_idx=table.padding_idx, _weight=table.weight.detach()
    )
    widened.first_token = int(tokenizer.cls_token_id)
    network.set_input_embeddings(widened)
    return int(table.num_embeddings)
