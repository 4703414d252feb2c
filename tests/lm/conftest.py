"""What the tests of the taste engine share."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertConfig

from app.lm.base import Base

from .making import load_folder, save_tiny_base, shape_of_base


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT on disk; never to be altered."""
    return save_tiny_base(tmp_path_factory.mktemp("tiny"), BertConfig(**shape_of_base()))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Base:
    """The tiny random BERT, loaded."""
    return load_folder(tiny_folder)
