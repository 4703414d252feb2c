"""What the tests of the taste engine share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import BertConfig

from app.lm.base import Base

from .making import begins_texts, load_folder, save_tiny_base, shape_of_base


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT on disk; never to be altered."""
    return save_tiny_base(tmp_path_factory.mktemp("tiny"), BertConfig(**shape_of_base()))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Base:
    """The tiny random BERT, loaded."""
    return load_folder(tiny_folder)


@pytest.fixture(scope="session")
def first_token_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on disk, with a tokenizer that puts a token first, in whose place a word may stand."""
    folder = tmp_path_factory.mktemp("first") / "base"
    shutil.copytree(tiny_folder, folder)
    return begins_texts(folder)
