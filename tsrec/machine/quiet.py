"""Keeping other libraries' talk out of our output: loading bars, load reports, their warnings. Ours stay.

What matters of it is checked and said by us: which weights were read, what was cut, what failed.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """transformers and sentence-transformers without bars and reports, and no warning of any library."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def without_bars() -> contextlib.AbstractContextManager[object]:
    """For a library that draws bars on standard error and has no switch for them; logging is not touched."""
    return contextlib.redirect_stderr(io.StringIO())
