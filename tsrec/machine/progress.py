"""One progress bar for all long steps: on a terminal a live line, in a log file one line every 15 seconds.

Whoever runs a stage may watch its bars; this module does not know what for.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

Observer = Callable[[str, float, float | None], None]
_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


@contextlib.contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Within it, `observer(step, done, total)` is called as often as a bar is drawn; it must neither wait nor raise."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def tell_observer(step: str, done: float, total: float | None) -> None:
    """Tell who observes this, if anybody does, how far a step is: one of another process has its bar there."""
    if observer := _observer.get():
        observer(step, done, total)


class _Bar(tqdm):
    def display(self, *arguments: Any, **options: Any) -> Any:
        tell_observer(self.desc.removesuffix(": "), self.n, self.total)
        return super().display(*arguments, **options)


def progress(
    iterable: Iterable[Any] | None = None, *, desc: str, total: int | None = None, unit: str = "it"
) -> "tqdm[Any]":
    """Wrap `iterable` (or count by hand up to `total`) in a progress bar on standard error."""
    seconds = 0.2 if sys.stderr.isatty() else 15.0
    return _Bar(
        iterable,
        desc=desc,
        total=total,
        unit=unit,
        mininterval=seconds,
        maxinterval=seconds,
        dynamic_ncols=True,
    )
