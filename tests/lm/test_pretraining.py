"""Training a music adapter: the same each time, also after a kill, and plain PEFT on disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModel

from app.errors import BadInput
from app.lm import pretraining, pretraining_card
from app.lm.base import Base
from app.lm.pretraining import Pretrained, PretrainSettings
from app.lm.pretraining_data import Source, source_of_facts
from app.lm.pretraining_teacher import solve
from app.settings import PROJECT

from .making import TEXTS, load_folder
from .test_pretraining_data import facts

CPU = torch.device("cpu")
SMALL = PretrainSettings(steps=6, teacher_steps=6, texts_a_step=24, rank=4, save_every=2)
WEIGHTS = "adapter_model.safetensors"


def source() -> Source:
    return source_of_facts(facts(120))


def train(tiny_folder: Path, out: Path, settings: PretrainSettings = SMALL) -> Pretrained:
    base = load_folder(tiny_folder, top_layers=2)
    return pretraining.pretrain(base, [source()], out, settings, CPU)


@pytest.fixture(scope="module")
def trained(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pretrained]:
    """An uninterrupted run on facts alone."""
    out = tmp_path_factory.mktemp("pretrained") / "music"
    return out, train(tiny_folder, out)


def test_it_is_plain_peft_and_folds_in_as_peft_merges(tiny_folder: Path, trained: tuple[Path, Pretrained]) -> None:
    out, done = trained
    ours = load_folder(tiny_folder, music_folder=out)
    network = AutoModel.from_pretrained(tiny_folder, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(network, out).merge_and_unload().eval()
    merged = Base(ours.files, theirs, ours.tokenizer, 1, "none")
    torch.testing.assert_close(ours.encode(TEXTS), merged.encode(TEXTS), atol=1e-4, rtol=0)
    assert (ours.encode(TEXTS) - load_folder(tiny_folder).encode(TEXTS)).abs().max() > 1e-4
    assert done.bytes == (out / WEIGHTS).stat().st_size
    assert sorted(p.name for p in out.iterdir()) == ["adapter_config.json", WEIGHTS]


def test_seen_and_unseen_artists_are_reported_apart(trained: tuple[Path, Pretrained]) -> None:
    after = trained[1].checks["after"]
    assert {"cosine to the teacher, seen", "cosine to the teacher, unseen"} <= set(after)
    assert {"neighbour nearer, seen", "neighbour nearer, unseen"} <= set(after)


@pytest.mark.slow
def test_the_student_comes_nearer_to_its_teacher(tiny_folder: Path, tmp_path: Path) -> None:
    done = train(tiny_folder, tmp_path / "longer", replace(SMALL, steps=60, texts_a_step=48))
    kind = "cosine to the teacher, seen"
    assert done.checks["after"][kind] > done.checks["before"][kind] + 0.02


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_the_seed_decides_the_adapter(
    seed: int, same: bool, tiny_folder: Path, trained: tuple[Path, Pretrained], tmp_path: Path
) -> None:
    train(tiny_folder, tmp_path / "again", replace(SMALL, seed=seed))
    assert ((tmp_path / "again" / WEIGHTS).read_bytes() == (trained[0] / WEIGHTS).read_bytes()) is same
    config = (tmp_path / "again" / "adapter_config.json").read_bytes()
    assert config == (trained[0] / "adapter_config.json").read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads({threads})
from app.lm import pretraining
from tests.lm.making import load_folder
from tests.lm.test_pretraining import CPU, SMALL, source

def report(phase, step, of, loss):
    if (phase, step) == ({phase!r}, {step}):  # after a checkpoint, before the next
        os.kill(os.getpid(), signal.SIGKILL)

base = load_folder(Path({folder!r}), top_layers=2)
pretraining.pretrain(base, [source()], Path({out!r}), SMALL, CPU, report)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "step"), [("reading", 144), ("teacher", 3), ("student", 3)])
def test_a_killed_run_goes_on_to_the_same_adapter(
    phase: str, step: int, tiny_folder: Path, trained: tuple[Path, Pretrained], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    code = KILLED.format(phase=phase, step=step, folder=str(tiny_folder), out=str(out), threads=torch.get_num_threads())
    ended = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    left = out.with_name("killed.training")
    assert (left / f"{phase}.pt").is_file() and not out.exists()
    taken: list[tuple[str, int]] = []
    base = load_folder(tiny_folder, top_layers=2)
    pretraining.pretrain(base, [source()], out, SMALL, CPU, lambda p, step, of, loss: taken.append((p, step)))
    steps = [at for name, at in taken if name == phase]
    assert steps[0] == step  # it went on after the checkpoint, not from the start
    assert (out / WEIGHTS).read_bytes() == (trained[0] / WEIGHTS).read_bytes()
    assert not left.exists()


def test_another_runs_checkpoints_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    left = tmp_path / "music.training"
    left.mkdir()
    (left / "run.json").write_text(json.dumps({"key": "of another run"}))
    with pytest.raises(BadInput, match="other data or with other settings"):
        train(tiny_folder, tmp_path / "music")


def test_a_half_written_checkpoint_is_not_read(
    tiny_folder: Path, trained: tuple[Path, Pretrained], tmp_path: Path
) -> None:
    left = tmp_path / "music.training"
    left.mkdir()
    for name in ("reading.partial", "teacher.partial", "run.json.partial"):
        (left / name).write_bytes(b"PK\x03\x04 and then the power went")
    train(tiny_folder, tmp_path / "music")
    assert (tmp_path / "music" / WEIGHTS).read_bytes() == (trained[0] / WEIGHTS).read_bytes()


def test_minutes_become_steps_that_a_resumed_run_keeps(tiny_folder: Path, tmp_path: Path) -> None:
    done = train(tiny_folder, tmp_path / "timed", replace(SMALL, minutes=0.02))
    assert 1 <= done.steps < 500 and 1 <= done.teacher_steps < 500


def test_a_source_without_groups_teaches_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    base = load_folder(tiny_folder, top_layers=2)
    empty = Source("empty", source().pieces, {"facts": []}, "0")
    with pytest.raises(BadInput, match="nothing to learn from"):
        pretraining.pretrain(base, [empty], tmp_path / "out", SMALL, CPU)


def test_bfloat16_trains_too(tiny_folder: Path, tmp_path: Path) -> None:
    done = train(tiny_folder, tmp_path / "half", replace(SMALL, precision="bfloat16"))
    assert done.precision == "bfloat16"
    assert load_folder(tiny_folder, music_folder=tmp_path / "half").encode(TEXTS).isfinite().all()


def test_the_precision_is_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert pretraining.best_precision(CPU) == "bfloat16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert pretraining.best_precision(CPU) == "float32"


def test_the_solve_is_the_ridge_solution_it_claims_to_be() -> None:
    random = torch.Generator().manual_seed(0)
    own = torch.nn.functional.normalize(torch.randn(1, 5, 8, generator=random), dim=-1)
    weights = torch.tensor([[1.0, 2.0, 0.5, 1.0, 0.0]])  # the last is padding
    many = torch.nn.functional.normalize(torch.randn(200, 8, generator=random), dim=-1)
    covariance = many.T @ many / 200
    scalars = torch.nn.ParameterDict({n: torch.nn.Parameter(torch.tensor(v)) for n, v in
                                      {"ridge": 0.3, "whiten": 1.0, "gate": 40.0}.items()})  # fmt: skip
    a, w = own[0, :4], torch.diag(weights[0, :4])
    s = np.exp(1.0) * covariance + 0.1 * np.exp(0.3) * torch.eye(8)
    expected = torch.nn.functional.normalize(torch.linalg.solve(s + a.T @ w @ a, a.T @ w @ torch.ones(4)), dim=0)
    torch.testing.assert_close(solve(own, weights, covariance, scalars)[0][0], expected, atol=1e-5, rtol=0)


def test_the_card_says_what_must_be_known(trained: tuple[Path, Pretrained]) -> None:
    out, done = trained
    listened = replace(source(), name="some-set", listeners=("0a1b2c3d",), left_out=3)
    pretraining_card.write(out, "some/base", [listened], SMALL, done, {"some-set": "for research only"})
    card = (out / "MODEL_CARD.md").read_text(encoding="utf-8")
    for words in ("for research only", "sha256", "unseen", "ListenBrainz", "earshot pretrain", "below 52"):
        assert words in card
    assert (out / "listeners.txt").read_text() == "0a1b2c3d\n"
    pretraining_card.write(out, "some/base", [source()], SMALL, done, {})
    assert not (out / "listeners.txt").exists()
