"""Large tensors lie in huge pages where Linux has them, unless the environment says otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_OFFERED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_CODE = """
import tsrec, torch
kept = torch.ones(64, 2**20)  # 256 MiB
rollup = open("/proc/self/smaps_rollup").read()
print(next(line.split()[1] for line in rollup.splitlines() if line.startswith("AnonHugePages")))
"""


@pytest.mark.skipif(
    not _OFFERED.exists() or "[never]" in _OFFERED.read_text(), reason="this system offers no huge pages"
)
@pytest.mark.parametrize(("said", "at_least", "less_than"), [(None, 128, 4096), ("0", 0, 128)])
def test_a_large_tensor_lies_in_them(said: str | None, at_least: int, less_than: int) -> None:
    if said and "[always]" in _OFFERED.read_text():
        pytest.skip("this system gives huge pages to whoever does not ask")
    unset = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    environment = unset | ({"THP_MEM_ALLOC_ENABLE": said} if said else {})
    done = subprocess.run([sys.executable, "-c", _CODE], env=environment, capture_output=True, text=True, check=True)
    assert at_least <= int(done.stdout) // 1024 < less_than  # MiB
