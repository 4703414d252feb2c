"""Freed memory goes back to the system when it is asked to."""

from __future__ import annotations

import json
import subprocess
import sys

from app.settings import PROJECT

# Small blocks that lie below one that stays: malloc keeps their pages until it is told to let them go.
CODE = """
import ctypes, json
from app.heaps import give_back, share_heaps

def kilobytes():
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:"))

share_heaps()
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [malloc(4096) for _ in range(10_000)]
for block in blocks:
    ctypes.memset(block, 1, 4096)
for block in blocks[:-1]:
    free(block)
before = kilobytes()
give_back()
print(json.dumps([before, kilobytes()]))
"""


def test_pages_of_freed_blocks_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, cwd=PROJECT)
    before, after = json.loads(done.stdout)
    assert before - after > 30_000
