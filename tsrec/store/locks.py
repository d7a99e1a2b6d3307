"""The lock of one artifact: whoever holds it may write there; whoever waits for it says so, and for whom.

The lock itself is the operating system's and ends with its holder, even a killed one. The note beside it (process,
host, since when) is for people, and for garbage collection on another machine, which cannot see the lock.
"""

import contextlib
import logging
import os
import platform
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from tsrec.store.work_files import write_text_whole

logger = logging.getLogger(__name__)

_UNSAID_S = 0.2  # shorter waits are not worth a line
_REMIND_S = 600


RUN: ContextVar[str] = ContextVar("run", default="")
"""What people know the run by that works here; whoever starts one may set it."""


class Holder(BaseModel):
    """Who holds a lock, since when (ISO, UTC), and in which run, where it has a name."""

    model_config = ConfigDict(frozen=True)

    pid: int
    host: str
    since: str
    run: str = ""

    @property
    def words(self) -> str:
        """For a message."""
        return f"{self.run and f'run {self.run}, '}process {self.pid} on {self.host}, since {self.since}"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the lock of the artifact at `folder`, after waiting, with a line in the log, for whoever has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_of(folder))
    timeout = _UNSAID_S
    while True:
        try:
            lock.acquire(timeout=timeout)
            break
        except Timeout:
            timeout = _REMIND_S
            other = holder(folder)
            logger.warning("waiting for %s: held by %s", folder, other.words if other else "an unknown process")
    try:
        with _noted(folder):
            yield
    finally:
        lock.release()


@contextlib.contextmanager
def hold_if_free(folder: Path) -> Iterator[bool]:
    """Hold the lock of the artifact at `folder` where nobody has it; False where somebody has."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_of(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def holder(folder: Path) -> Holder | None:
    """Who noted last that they hold the lock, and has not given it back (or was killed)."""
    try:
        return Holder.model_validate_json(_note_of(folder).read_bytes())
    except (OSError, ValidationError):
        return None


@contextlib.contextmanager
def _noted(folder: Path) -> Iterator[None]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    me = Holder(pid=os.getpid(), host=platform.node(), since=now, run=RUN.get())
    write_text_whole(_note_of(folder), me.model_dump_json())
    try:
        yield
    finally:
        _note_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    # Never removed: a waiter would go on to lock the removed file while another locks a new one.
    return folder.with_suffix(".lock")


def _note_of(folder: Path) -> Path:
    return folder.with_suffix(".holder")
