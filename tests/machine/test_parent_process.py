"""A child ends when its parent is gone; one that does not obey is killed, where it was asked for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_CHILD = """
import os, signal, sys, time
from tsrec.machine.parent_process import end_with_parent
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with_parent(int(sys.argv[1]), group_grace_s=0.1 if sys.argv[2] == "deaf" else None)
print(os.getpid(), flush=True)
time.sleep(60)
"""
_PARENT = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid()), sys.argv[2]], start_new_session=True).wait()
"""


@contextmanager
def _family(child: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A parent, and the process id of its child."""
    command = [sys.executable, "-c", _PARENT, _CHILD, child]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        try:
            yield parent, pid
        finally:
            parent.kill()
            if _lives(pid):
                os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("child", ["obedient", "deaf"])
def test_a_child_ends_after_its_parent_was_killed(child: str) -> None:
    with _family(child) as (parent, pid):
        assert _lives(pid)
        parent.kill()
        end = time.monotonic() + 20
        while _lives(pid):
            assert time.monotonic() < end, "the child lives on"
            time.sleep(0.05)
