"""What glibc's malloc keeps for itself, kept small. Elsewhere than on glibc nothing happens."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8  # glibc's malloc.h


def share_heaps() -> None:
    """Let all threads of this process share two heaps."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Give the system what was freed: some 27 MB after a base was loaded (measured), and a training's activations."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
