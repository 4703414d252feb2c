"""Find the base's files and verify them, without importing the package that carries them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import tomllib
from dataclasses import dataclass
from pathlib import Path

from app.errors import BaseAltered, BaseMissing

_CHUNK = 1 << 20
SETTINGS_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A base on disk: its folder, its name, and the sha256 of its weights."""

    name: str
    folder: Path
    weights_sha256: str
    licence: str

    def settings_sha256(self) -> dict[str, str]:
        """sha256 of the small files that change a vector as much as the weights do."""
        return {name: sha256_of(self.folder / name) for name in SETTINGS_FILES if (self.folder / name).is_file()}


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _weights_digest(folder: Path) -> str:
    """sha256 over every safetensors file of a folder, sharded bases included."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BaseMissing(
            f"No .safetensors weights in {folder}. Earshot loads safetensors only; convert the base first."
        )
    if len(files) == 1:
        return sha256_of(files[0])
    return hashlib.sha256("".join(sha256_of(f) for f in files).encode()).hexdigest()


def _from_distribution(declared: dict[str, str]) -> BaseFiles:
    name = declared["distribution"]
    mend = f"Run `make setup` (it installs {name}), or set EARSHOT_BASE_MODEL."
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise BaseMissing(f"The package {name} that carries the base is not installed. {mend}") from None
    folder = Path(str(distribution.locate_file(declared["folder"])))
    weights = folder / declared["weights"]
    if not weights.is_file():
        raise BaseMissing(f"The base's weights are not at {weights}. {mend}")
    digest = sha256_of(weights)
    if digest != declared["sha256"]:
        raise BaseAltered(
            f"{weights} has sha256 {digest}, but models/base.toml states {declared['sha256']}: the file is "
            f"truncated or altered. Reinstall it: pip install --force-reinstall --no-deps {name}"
        )
    return BaseFiles(declared["id"], folder, digest, declared.get("licence", "unknown"))


def locate(base_toml: Path, override: str = "", *, download: bool = False) -> BaseFiles:
    """Where the base lies.

    ``override`` is a folder or a hub id (``EARSHOT_BASE_MODEL``); empty means ``base_toml``. A hub id is
    looked up in the local hub cache; only ``download`` allows a call to the outside.

    Raises BaseMissing or BaseAltered with what to do about it.
    """
    if not override:
        try:
            declared = tomllib.loads(base_toml.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BaseMissing(f"{base_toml} is missing; restore it from the repository.") from None
        return _from_distribution(declared)
    folder = Path(override).expanduser()
    if not folder.is_dir():
        folder = _from_hub(override, download=download)
    if not (folder / "config.json").is_file():
        raise BaseMissing(f"{folder} has no config.json, so it is no base. Check EARSHOT_BASE_MODEL={override}.")
    return BaseFiles(override, folder, _weights_digest(folder), "unknown")


def _from_hub(hub_id: str, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                hub_id,
                local_files_only=not download,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "1_Pooling/*"],
            )
        )
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as problem:
        raise BaseMissing(
            f"EARSHOT_BASE_MODEL={hub_id!r} is neither a folder nor in the local hub cache. "
            f"Fetch it once with `earshot model fetch {hub_id}`."
        ) from problem
