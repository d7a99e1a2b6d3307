"""What is freed goes back to the system, though something that is still needed lies behind it."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from tsrec.machine.freed_memory import return_freed_memory


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not the C library of GNU")
def test_freed_blocks_before_one_that_is_needed_go_back() -> None:
    blocks = [np.ones(12_000) for _ in range(1_000)]  # 96 kB each: too small to be mapped one by one
    del blocks[:-1]
    before = _resident_mb()
    return_freed_memory()
    assert before - _resident_mb() > 60
    assert blocks[0].all()


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
