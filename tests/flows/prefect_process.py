"""Prefect's own command line in tests: processes that are started and ended, and `prefect deploy`."""

import os
import signal
import subprocess
import sys
from pathlib import Path


def start(arguments: list[str], environment: dict[str, str], log: Path, folder: Path) -> "subprocess.Popen[bytes]":
    """`prefect ARGUMENTS` in `folder`, in a session of its own; what it prints lies in `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """A worker that was idle for long may ignore the signal."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def deploy_all(environment: dict[str, str], folder: Path) -> None:
    """Deploy what the folder's prefect.yaml names."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
