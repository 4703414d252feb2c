"""The locks: every package by one version and by the sha256 of its files, so that nothing else is installed."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement

from app.settings import PROJECT

LOCK = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
CLUSTER = (PROJECT / "requirements-cluster.lock").read_text(encoding="utf-8")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: *\\\n +--hash=sha256:[0-9a-f]{64})*)$", re.MULTILINE)


def name_of(package: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


@pytest.mark.slow
@pytest.mark.parametrize(("lock", "least"), [(LOCK, 80), (CLUSTER, 60)], ids=["requirements", "cluster"])
def test_every_package_has_one_version_and_hashes(lock: str, least: int) -> None:
    pins = PIN.findall(lock)
    assert "".join(PIN.sub("", lock).split()) == "", "only pins with hashes belong in it: run tools/lock"
    assert [name for name, _, hashes in pins if not hashes] == [], "run tools/lock after adding a line"
    assert len({name_of(name) for name, _, _ in pins}) == len(pins) > least


def test_torch_is_not_in_it() -> None:
    assert not {name_of(name) for name, _, _ in PIN.findall(LOCK + CLUSTER)} & {"torch", "triton"}, (
        "its builds differ by index"
    )


def test_what_pyproject_asks_for_is_in_it() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(one for many in project["optional-dependencies"].values() for one in many)]
    wanted = {name_of(re.split(r"[^A-Za-z0-9._-]", one)[0]) for one in asked} - {"torch", "optuna"}  # optuna: by hand
    assert wanted - {name_of(name) for name, _, _ in PIN.findall(LOCK + CLUSTER)} == set()


def test_the_clusters_lock_only_adds() -> None:
    both = [{name_of(name) for name, _, _ in PIN.findall(lock)} for lock in (LOCK, CLUSTER)]
    assert both[0] & both[1] == set()


@pytest.mark.parametrize(
    "lock", [LOCK, pytest.param(CLUSTER, marks=pytest.mark.cluster)], ids=["requirements", "cluster"]
)
def test_what_a_locked_package_needs_is_locked(lock: str) -> None:
    locked = {name_of(name) for name, _, _ in PIN.findall(LOCK + (CLUSTER if lock is CLUSTER else ""))} | {"torch"}
    for name, _, _ in PIN.findall(lock):
        try:
            asked = [Requirement(one) for one in importlib.metadata.requires(name) or ()]
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        for one in asked:
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                assert name_of(one.name) in locked, f"{name} needs {one}"
