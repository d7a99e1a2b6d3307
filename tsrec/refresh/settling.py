"""Waits until raw files have not changed for some seconds: another program may still be writing them."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from tsrec.errors import DataError

logger = logging.getLogger(__name__)

_LONGEST_S = 3600.0  # who writes for an hour without a pause writes for ever
_LOOK_S = 5.0


def wait_until_settled(files: Iterable[Path], seconds: float) -> None:
    """Return once no file has changed for `seconds`; time stamps of the future count as settled.

    Raises:
        DataError: one was still changing after an hour, or went away; names it.
    """
    files = list(files)
    began = time.monotonic()
    told = False
    while True:
        try:
            ages = {file: time.time() - file.stat().st_mtime for file in files}
        except OSError as error:
            raise DataError(f"{error.filename}: went away while it was looked at; run again") from None
        fresh = {file: age for file, age in ages.items() if 0 <= age < seconds}
        if not fresh:
            return
        newest = min(fresh, key=fresh.__getitem__)
        if time.monotonic() - began > _LONGEST_S:
            raise DataError(f"{newest}: still being written after an hour; run again when it is whole")
        if not told:
            logger.info("waiting until %s has not changed for %g s (refresh.settle_s)", newest, seconds)
            told = True
        time.sleep(min(seconds - fresh[newest], _LOOK_S))
