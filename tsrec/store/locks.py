"""The lock of one artifact: only its holder may write there. A process that waits for it logs who holds it.

The lock itself is the operating system's and ends with its holder, even a killed one. Other machines may not see it:
for them there is the note beside it (process, host, since when), which its holder touches every half minute. A holder
that has not touched it for ten minutes is gone. Both moments are the file system's, so clocks may differ; neither host
names nor process ids are compared, for containers share and change them. Ten minutes are far more than any one step
keeps Python's threads from running; a machine that sleeps for longer may lose what it has half built.
"""

import contextlib
import logging
import os
import platform
import threading
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
_BEAT_S = 30.0
GONE_AFTER_S = 600.0


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
    def description(self) -> str:
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
            logger.warning("waiting for %s: held by %s", folder, other.description if other else "an unknown process")
    try:
        with _noted(folder):
            yield
    finally:
        lock.release()


@contextlib.contextmanager
def hold_if_free(folder: Path) -> Iterator[bool]:
    """Hold the lock of the artifact at `folder` where nobody has it, here or elsewhere; False where somebody has."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_of(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield not _is_alive(folder)
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
    note, ended = _note_of(folder), threading.Event()
    write_text_whole(note, me.model_dump_json())
    beat = threading.Thread(target=_beat, args=(note, ended), name="lock", daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        note.unlink(missing_ok=True)


def _beat(note: Path, ended: threading.Event) -> None:
    while not ended.wait(_BEAT_S):
        with contextlib.suppress(OSError):  # a network folder may be away for a moment
            note.touch()


def _is_alive(folder: Path) -> bool:
    """Whether whoever noted that they hold the lock has touched the note lately."""
    try:
        os.utime(_lock_of(folder))  # what time it is where the store lies
        age = _lock_of(folder).stat().st_mtime - _note_of(folder).stat().st_mtime
    except FileNotFoundError:
        return False
    return abs(age) < GONE_AFTER_S  # a note of the future is from before its clock was set back


def _lock_of(folder: Path) -> Path:
    # Never removed: a waiter would go on to lock the removed file while another locks a new one.
    return folder.with_suffix(".lock")


def _note_of(folder: Path) -> Path:
    return folder.with_suffix(".holder")
