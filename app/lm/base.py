"""The base: the shared frozen language model, with the music adapter folded in at load.

The forward pass is cut in two at the first adapted layer. ``lower`` runs everything below it once; ``upper`` runs
the adapted layers from those activations. A song's lower activations never depend on a listener, so training and
serving reuse them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # traps: loading must never reach the network unasked
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from torch import Tensor, nn

from app.errors import BaseAltered, BaseMissing, BaseUnsupported
from app.lm.architecture import Architecture, describe
from app.lm.kept import Kept
from app.lm.locate import BaseFiles
from app.lm.precision import Precision, in_bfloat16, measured
from app.lm.side_by_side import SideBySide
from app.lm.song_text import TEXT_FORMAT
from app.lm.stand_ins import Inject, Reached, Stop, like
from app.lm.vocabulary import Vocabulary, reads_words

MAX_TOKENS = 64
_LOWER_BYTES = 64 << 20  # about 2,000 songs
_MANY = 64  # texts: for fewer, a second copy of the weights is not worth its memory
_TOKENISED = 256  # texts that become tokens at a time
_READ = 128  # texts of a catalogue that are read at a time: a twentieth faster than 64
_WIDTH = 8  # texts of one batch are padded to a multiple of this many tokens
Group = tuple[list[int], Tensor, Tensor]  # where its texts stand, input ids and mask, both (B, T)
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "*.bpe.model")


@dataclass(frozen=True, slots=True)
class Lower:
    """Activations below the adapted layers for one batch of texts.

    hidden: (B, T, H) input of the first adapted layer; input_ids and mask: (B, T).
    """

    hidden: Tensor
    input_ids: Tensor
    mask: Tensor

    def rows(self, start: int, stop: int) -> Lower:
        """A slice of the batch, trimmed to its own longest text."""
        longest = int(self.mask[start:stop].sum(dim=1).max())
        return Lower(
            self.hidden[start:stop, :longest], self.input_ids[start:stop, :longest], self.mask[start:stop, :longest]
        )

    def pick(self, indices: Tensor) -> Lower:
        """Chosen rows, trimmed to their own longest text."""
        longest = int(self.mask[indices].sum(dim=1).max())
        return Lower(self.hidden[indices, :longest], self.input_ids[indices, :longest], self.mask[indices, :longest])


class Base:
    """A loaded, frozen base. Safe to share between threads: no method changes its state.

    Create with ``load``. ``fingerprint`` identifies weights and every setting that changes a vector.
    """

    def __init__(
        self,
        files: BaseFiles,
        network: nn.Module,
        tokenizer: Any,
        top_layers: int,
        music: str,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.files = files
        self.network = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.architecture: Architecture = describe(network, files.folder)
        self.top_layers = min(top_layers, self.architecture.layer_count)
        self.targets = self.architecture.targets(network, self.top_layers)
        self.music = music
        self.dimension = self.architecture.hidden_size
        self.parameters = sum(p.numel() for p in network.parameters())
        self.vocabulary = vocabulary
        self._first_word = reads_words(network, tokenizer, vocabulary) if vocabulary is not None else 0
        settings = {
            "weights": files.weights_sha256,
            "files": files.settings_sha256(),
            "music": music,
            "pooling": self.architecture.pooling,
            "max_tokens": MAX_TOKENS,
            "text": TEXT_FORMAT,
        }
        if vocabulary is not None:
            settings["vocabulary"] = vocabulary.sha256
        self.fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self.lower_kept: Kept[Lower] = Kept(_LOWER_BYTES)
        self._ids([""])  # sets the truncation, once: from here on no call changes the tokenizer
        self._precision: Precision | None = None
        self._fast: nn.Module | None = None
        self._batches = SideBySide()
        self._lower = self._copy()
        layers = self._layers(self._lower)
        first = self.architecture.layer_count - self.top_layers
        for index in range(first, self.architecture.layer_count):
            layers[index] = like(Stop(), layers[index])

    # -- the two halves -------------------------------------------------------------------------

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, unpadded. Fast tokenizers keep padding as state of their own, so that a thread that
        asks for it pads another's texts: nobody asks."""
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        if self.vocabulary is not None:
            for row, word in zip(ids, map(self.vocabulary.find, texts), strict=True):
                if word is not None:
                    row[0] = self._first_word + word
        return ids

    def _ids_of_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The same on every core."""
        parts = (texts[start : start + _TOKENISED] for start in range(0, len(texts), _TOKENISED))
        return [ids for part in self._batches.map(self._ids, parts) for ids in part]

    def _padded(self, rows: Sequence[list[int]], width: int) -> tuple[Tensor, Tensor]:
        """Input ids and mask, both (B, width)."""
        pad = [int(self.tokenizer.pad_token_id)] * width
        input_ids = torch.tensor([ids + pad[len(ids) :] for ids in rows], dtype=torch.long)
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in rows], dtype=torch.long)
        device = next(self.network.parameters()).device
        return input_ids.to(device), mask.to(device)

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Input ids and mask, both (B, T), padded to the longest text and cut at MAX_TOKENS tokens."""
        rows = self._ids(texts)
        return self._padded(rows, max(map(len, rows)))

    def pieces(self, text: str) -> list[str]:
        """What a text is read as, by name, special tokens included; a word of the domain vocabulary is "" here."""
        ids = self._ids([text])[0]
        words = [self._first_word > 0 and token >= self._first_word for token in ids]
        named = self.tokenizer.convert_ids_to_tokens(
            [0 if word else token for word, token in zip(words, ids, strict=True)]
        )
        return ["" if word else name for word, name in zip(words, named, strict=True)]

    def groups(self, texts: Sequence[str], rows: int = 64, *, padded: bool = True) -> Iterator[Group]:
        """All texts as batches of at most ``rows`` alike in length: positions, input ids and mask, both (B, T).

        T follows from a text alone and every row has padding, or none has, so that a text's vector does not depend on
        its company. Unpadded is for many texts: batches of each length there is.
        """
        if not texts:
            return
        encoded = self._ids(texts) if padded else self._ids_of_many(texts)
        by_width: dict[int, list[int]] = {}
        for at, ids in enumerate(encoded):
            by_width.setdefault((len(ids) // _WIDTH + 1) * _WIDTH if padded else len(ids), []).append(at)
        for width, members in sorted(by_width.items()):
            for start in range(0, len(members), rows):
                part = members[start : start + rows]
                yield part, *self._padded([encoded[at] for at in part], width)

    def lower(self, texts: Sequence[str]) -> Lower:
        """Everything below the adapted layers for a batch of texts."""
        return self.lower_of(*self.tokenize(texts))

    @torch.inference_mode()
    def lower_of(self, input_ids: Tensor, mask: Tensor) -> Lower:
        """The same for texts that are tokens already, both (B, T)."""
        try:
            self._lower(input_ids=input_ids, attention_mask=mask)
        except Reached as reached:
            return Lower(reached.hidden, input_ids, mask)
        raise BaseUnsupported(f"{self.files.name}: the forward pass never reached its top {self.top_layers} layers")

    def _layers(self, network: nn.Module) -> nn.ModuleList:
        return cast(nn.ModuleList, network.get_submodule(self.architecture.layers_path))

    def _copy(self) -> nn.Module:
        """New modules around the same tensors."""
        shared: dict[int, Any] = {id(t): t for t in [*self.network.parameters(), *self.network.buffers()]}
        return copy.deepcopy(self.network, shared)

    def upper_network(self) -> nn.Module:
        """A copy of the network that shares every tensor but skips the layers below the adapted ones.

        Its module names are the base's own, so PEFT trains on it and writes files that fit the whole base.
        """
        upper = self._copy()
        layers = self._layers(upper)
        in_tuple = self._layer_returns_tuple()
        for index in range(self.architecture.layer_count - self.top_layers):
            layers[index] = like(Inject(in_tuple), layers[index])
        return upper

    def _layer_returns_tuple(self) -> bool:
        seen: list[bool] = []
        handle = self._layers(self.network)[0].register_forward_hook(
            lambda _m, _i, out: seen.append(isinstance(out, tuple))
        )
        try:
            with torch.inference_mode():
                ids = torch.ones(1, 2, dtype=torch.long)
                self.network(input_ids=ids, attention_mask=torch.ones_like(ids))
        finally:
            handle.remove()
        return seen[0]

    def upper(self, network: nn.Module, lower: Lower) -> Tensor:
        """Unit vectors (B, D) from lower activations, through a network made by ``upper_network``.

        One thread at a time for one ``network``: the slot bank holds a lock around it, the trainer has its own.
        """
        injecting = next((m for m in network.modules() if isinstance(m, Inject)), None)
        if injecting is not None:
            injecting.hidden = lower.hidden
        try:
            output = network(input_ids=lower.input_ids, attention_mask=lower.mask)
        finally:
            if injecting is not None:
                injecting.hidden = None
        return self.pool(output.last_hidden_state, lower.mask, lower.input_ids)

    def pool(self, hidden: Tensor, mask: Tensor, input_ids: Tensor | None = None) -> Tensor:
        """(B, T, H) and (B, T) to unit vectors (B, H); input_ids, (B, T), say which words the texts begin with."""
        hidden = hidden.float()  # a sum in bfloat16 would cost more digits than all layers do
        if self.architecture.pooling == "cls":
            pooled = hidden[:, 0]
        elif self.architecture.pooling == "last":
            last = mask.cumsum(dim=1).argmax(dim=1)
            pooled = hidden[torch.arange(hidden.shape[0]), last]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
        vectors = nn.functional.normalize(pooled, dim=-1)
        if self.vocabulary is None or input_ids is None:
            return vectors
        return self.vocabulary.add(vectors, input_ids[:, 0] - self._first_word)

    def encode(self, texts: Sequence[str], batch: int = 64) -> Tensor:
        """Unit vectors (n, D) float32 of texts with no adapter, in the order given."""
        return self._encode(self.network, self.groups(texts, batch), len(texts))

    def encode_many(self, texts: Sequence[str]) -> Tensor:
        """The same for a catalogue: in bfloat16 if this processor does that faster, equal to 1e-2 in cosine."""
        if len(texts) < _MANY or self.precision == "float32":
            return self.encode(texts)
        if self._fast is None:
            self._fast = in_bfloat16(self._copy())
        return self._gather(self._batches.map(self._read_whole, self.groups(texts, _READ, padded=False)), len(texts))

    @property
    def precision(self) -> Precision:
        """How many texts are read and frozen layers multiply in training, measured when first asked for."""
        if self._precision is None:
            self._precision = measured()
        return self._precision

    def _encode(self, network: nn.Module, groups: Iterator[Group], count: int) -> Tensor:
        return self._gather((self._read(network, *group) for group in groups), count)

    def _gather(self, read: Iterator[tuple[list[int], Tensor]], count: int) -> Tensor:
        result = torch.empty(count, self.dimension)
        for rows, vectors in read:
            result[rows] = vectors
        return result

    @torch.inference_mode()
    def _read(self, network: nn.Module, rows: list[int], input_ids: Tensor, mask: Tensor) -> tuple[list[int], Tensor]:
        hidden = network(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return rows, self.pool(hidden, mask, input_ids).cpu()

    @torch.inference_mode()
    def _read_whole(self, group: Group) -> tuple[list[int], Tensor]:
        """The same in bfloat16 and without padding, so that there is nothing to leave out of attention."""
        assert self._fast is not None
        rows, input_ids, mask = group
        return rows, self.pool(self._fast(input_ids=input_ids).last_hidden_state, mask, input_ids).cpu()

    def weights_digest(self) -> str:
        """sha256 over every tensor of the network: what the test of "training leaves the base alone" compares."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


def _leave_scipy_out() -> None:
    """Have transformers not import SciPy, if it is installed: it would for the losses of object detection, and the web
    process and the worker would hold 30 MB more each (measured, proportional set size)."""
    from transformers import utils
    from transformers.utils import import_utils

    for module in (utils, import_utils):
        module.is_scipy_available = lambda: False


def load(files: BaseFiles, *, top_layers: int = 1, music_folder: Path | None = None) -> Base:
    """Load a base from its files, in float32, without touching the network.

    ``music_folder`` holds the music adapter to fold in, and perhaps a vocabulary. Raises BaseMissing or BaseAltered.
    """
    _leave_scipy_out()
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    if not any(any(files.folder.glob(name)) for name in _TOKENIZERS):  # transformers would make an empty one up
        raise BaseMissing(f"The base in {files.folder} has no tokenizer. Fetch it again.")
    try:
        config = AutoConfig.from_pretrained(files.folder, local_files_only=True, trust_remote_code=False)
        network = AutoModel.from_pretrained(
            files.folder, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(files.folder, local_files_only=True)
    except SafetensorError as problem:
        raise BaseAltered(
            f"The base's weights in {files.folder} are truncated or altered ({problem}). Fetch them again."
        ) from problem
    except (OSError, ValueError, KeyError) as problem:
        raise BaseMissing(f"The base in {files.folder} cannot be loaded: {problem}") from problem
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    tokenizer.padding_side = "right"
    network.name_or_path = network.config._name_or_path = files.name  # PEFT writes it into adapter_config.json
    if hasattr(network.config, "use_cache"):
        network.config.use_cache = False
    music, vocabulary = "none", None
    if music_folder is not None:
        from app.lm.music import fold_in

        network, music = fold_in(network, music_folder)
        vocabulary = Vocabulary.beside(music_folder)
    return Base(files, network, tokenizer, top_layers, music, vocabulary)
