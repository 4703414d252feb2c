"""The only reader of the environment. Every setting is ``EARSHOT_`` plus its name in capitals.

README.md has the table of settings; a test compares it with this class.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parent.parent


def prepare_for_ray(token: Path, loopback: bool) -> None:
    """Set what Ray reads from the environment before it is imported, where the operator has not said otherwise.

    token: a file with the secret that every machine of the cluster has; loopback: whether this machine is all of it.
    """
    # Ray listens on every address, whatever node address it is given, except where it believes to be alone.
    alone = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if loopback else {}
    for name, value in {
        **alone,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }.items():
        os.environ.setdefault(name, value)


class Settings(BaseSettings):
    """All settings of one process; built once by main.py, cli.py or worker.py and handed on."""

    model_config = SettingsConfigDict(env_prefix="EARSHOT_", extra="ignore")

    home: Path = Field(PROJECT, description="Folder of all state: data/, adapters/.")
    host: str = Field("127.0.0.1", description="Address that `earshot serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `earshot serve` listens on.")
    database_url: str = Field("", description="SQLAlchemy URL; empty is SQLite in data/earshot.db under the home.")
    base_model: str = Field("", description="Another base: a folder, or a hub id that `earshot model fetch` brought.")
    music_adapter: str = Field(
        "music", description="The music adapter under models/: `music`, `music-clean`, your own, or `none`."
    )
    models: Path = Field(PROJECT / "models", description="Folder with base.toml and the music adapters.")
    min_songs: int = Field(12, ge=2, description="Different liked songs that a retrain needs.")
    slots: int = Field(64, ge=1, description="Adapters that can answer in one batch.")
    rank: int = Field(8, ge=1, le=64, description="Rank of the listeners' adapters.")
    cache_mb: int = Field(256, ge=1, description="MB of RAM for adapters, vectors and scores that are kept, together.")
    storage: str = Field(
        "", description="Folder or fsspec URL (`s3://bucket/place`) for adapters and vectors that machines share."
    )
    storage_cache_mb: int = Field(2048, ge=1, description="MB of disk for adapters fetched from the shared storage.")
    threads: int = Field(0, ge=0, description="Numeric threads of the web process; 0 is half of the cores.")
    train_threads: int = Field(0, ge=0, description="Numeric threads of the worker; 0 is every core.")
    worker_rest_minutes: float = Field(
        10,
        ge=0,
        description="Minutes without work after which the worker of `earshot serve` lets go of torch; 0 is never.",
    )
    max_body_bytes: int = Field(6_000_000, ge=1000, description="Largest request body taken.")
    max_import_bytes: int = Field(300_000_000, ge=1000, description="Largest upload of files to import.")
    session_days: int = Field(60, ge=1, description="Days until an unused session ends.")
    invite_days: int = Field(14, ge=1, description="Days until an invite link ends.")
    https: bool = Field(False, description="Set when people come by HTTPS: cookies become `__Host-` and Secure.")
    trusted_proxies: str = Field("", description="Comma-separated addresses whose X-Forwarded-For is believed.")
    musicbrainz_url: str = Field(
        "", description="MusicBrainz' web service (`https://musicbrainz.org/ws/2`), to complete songs; empty is off."
    )
    backup_hours: int = Field(24, ge=0, description="Hours between backups into data/backups/; 0 makes none unasked.")
    backup_keep: int = Field(7, ge=1, description="How many of these backups are kept.")
    metrics: str = Field("", description="Address for Prometheus, such as `127.0.0.1:9100`; empty serves no metrics.")
    max_requests: int = Field(200, ge=1, description="Requests answered at once; more are asked to come again.")
    body_seconds: int = Field(
        30,
        ge=1,
        description="Seconds that a request's body may take to arrive; for an import's files, each part of it.",
    )
    log_format: str = Field("text", description="How log lines are written: text or json.")
    log_level: str = Field("info", description="Log level: debug, info, warning or error.")

    def numeric_threads(self, wanted: int) -> int:
        """So many, or half of the cores: two processes that spin on all of them slow each other (measured)."""
        return wanted or max(1, (os.cpu_count() or 1) // 2)

    @property
    def worker_threads(self) -> int:
        """The worker's: it gives way and does not spin (serving.py, worker.py), so it may have every core."""
        return self.train_threads or os.cpu_count() or 1

    @property
    def data(self) -> Path:
        """Database and catalogue vectors."""
        return self.home / "data"

    @property
    def vectors(self) -> Path:
        """Catalogue vectors, a folder for each base fingerprint."""
        return self.data / "vectors"

    @property
    def can_back_up(self) -> bool:
        """Whether the worker can: what is shared, or in another database, is backed up where it lies."""
        return not self.storage and self.url.startswith("sqlite")

    @property
    def backups(self) -> Path:
        """Backups of the schedule."""
        return self.data / "backups"

    @property
    def adapters(self) -> Path:
        """Listeners' adapters."""
        return self.home / "adapters"

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data / 'earshot.db'}"

    @property
    def music(self) -> Path | None:
        """Folder of the music adapter, if one is chosen. The default is for the shipped base, not for another one."""
        if self.music_adapter == "none" or (self.base_model and "music_adapter" not in self.model_fields_set):
            return None
        return self.models / self.music_adapter
