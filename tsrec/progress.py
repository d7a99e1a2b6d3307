"""One progress bar for all long steps: on a terminal a live line, in a log file one line every 15 seconds."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    iterable: Iterable[Any] | None = None, *, desc: str, total: int | None = None, unit: str = "it"
) -> "tqdm[Any]":
    """Wrap `iterable` (or count by hand up to `total`) in a progress bar on standard error."""
    seconds = 0.2 if sys.stderr.isatty() else 15.0
    return tqdm(
        iterable,
        desc=desc,
        total=total,
        unit=unit,
        mininterval=seconds,
        maxinterval=seconds,
        dynamic_ncols=True,
    )
