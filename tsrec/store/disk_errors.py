"""Errors of a disk that cannot be written to, explained: no space, a quota, a read-only folder, no permission.

Each library that writes for a stage fails in its own way; the number of the operating system's error is in all but one
of them. Knows nothing of stages.
"""

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tsrec.errors import ArtifactError, TsrecError

_GO_ON = "then run the same command again: it goes on where it was"
_FULL = f"no space left; free some (`tsrec artifacts gc` removes what no recent run uses), {_GO_ON}"
_REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: f"your quota of this disk is used up; free some space, {_GO_ON}",
    errno.EFBIG: f"larger than a file may be here (ulimit -f, or the file system); raise that, {_GO_ON}",
    errno.EROFS: f"can only be read; make it writable, or name another store, {_GO_ON}",
    errno.EACCES: f"may not be written by this user; change its permissions, or name another store, {_GO_ON}",
    errno.EPERM: f"may not be written by this user; change its permissions, or name another store, {_GO_ON}",
}
# Elsewhere they may be about a file that is read, which is not ours to explain.
_ONLY_WITHIN_FOLDER = {errno.EROFS, errno.EACCES, errno.EPERM}
_NUMBER = re.compile(r"(?:\[[Ee]rrno |os error |code: )(\d+)")
_ALMOST_NOTHING = 1 << 16  # bytes


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Within it, an error that says that something in `folder` cannot be written becomes an ArtifactError of one line.

    Raises:
        ArtifactError: with the path, why it cannot be written, and what to do.
    """
    try:
        yield
    except TsrecError:
        raise
    except Exception as error:
        if explanation := _explanation(error, folder):
            raise ArtifactError(explanation) from error
        raise


def _explanation(error: Exception, folder: Path) -> str | None:
    for cause in _causes(error):
        number = _number(cause)
        place = Path(str(cause.filename)) if isinstance(cause, OSError) and cause.filename else folder
        if number in _ONLY_WITHIN_FOLDER and not place.is_relative_to(folder):
            continue
        if number in _REFUSALS:
            return f"{place}: {_REFUSALS[number]}"
    return f"{folder}: {_FULL}" if _is_full(folder) else None  # torch does not say why a file could not be written


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None


def _is_full(folder: Path) -> bool:
    existing = next((place for place in (folder, *folder.parents) if place.exists()), None)
    try:
        return existing is not None and shutil.disk_usage(existing).free < _ALMOST_NOTHING
    except OSError:
        return False
