"""A tiny base, and tiny directories in the plain format."""

from __future__ import annotations

from pathlib import Path

import pytest
from lm.making import save_tiny_base, shape_of_base
from sets import MakeBench, write_listens, write_songs
from transformers import BertConfig

from app.lm.engine import Engine, EngineSettings
from app.lm.ranking import Rule
from benchmarks.quality import data, protocol
from benchmarks.quality.running import Bench, encode


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT on disk."""
    return save_tiny_base(tmp_path_factory.mktemp("tiny"), BertConfig(**shape_of_base()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty songs of twenty artists, even and odd, and twelve listeners: half know even songs, half odd ones."""
    here = tmp_path / "set"
    here.mkdir()
    write_songs(here)
    write_listens(here)
    return here


@pytest.fixture
def make_bench(tmp_path: Path, tiny_folder: Path) -> MakeBench:
    """A bench on a directory; everybody is measured, with the tiny base and no music adapter."""

    def make(folder: Path, task: str, rule: Rule | None = None) -> Bench:
        found = data.read(folder)
        asked = protocol.questions(task, found, sorted(found.listens))
        work = tmp_path / "work"
        engine = Engine.open(
            EngineSettings(
                base_toml=Path("none.toml"),
                vectors=work / "vectors",
                adapters=work / "adapters",
                base_override=str(tiny_folder),
                rank=2,
                rule=rule or found.rule,
            )
        )
        bench = Bench(found, task, asked, engine, engine, least=2)
        encode(bench, quiet=True)
        return bench

    return make
