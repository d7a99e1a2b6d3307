"""Masks passwords and other secrets of addresses in messages, states, logs and errors."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from tsrec.errors import in_one_line

P = ParamSpec("P")
R = TypeVar("R")
# Up to the last @ of the host; where a password stands, which may hold slashes and quotes, of the word. What is matched
# begins at ://, and has a longest length or ends at the next one: long texts take no longer than their length.
_SECRET_BEFORE_HOST = re.compile(
    r"(?<=\w://)(?:[^\s'\"/@:]{0,200}:(?!\d*(?:[/?#\s'\"]|$))\S{0,400}@|[^\s'\"/]{1,400}@)"
)
_SECRET_QUERY = re.compile(r"(?<=\w)(://(?:(?!://)[^\s'\"?#])*[?#])[^\s'\"]+")


def masked(text: str) -> str:
    """The text, with stars for user names, passwords and queries of addresses."""
    return _SECRET_QUERY.sub(r"\1***", _SECRET_BEFORE_HOST.sub("***@", text))


def masked_in_one_line(error: Exception) -> str:
    """What an error says, masked, for a line of a terminal; its class where it says nothing, as timeouts do."""
    return masked(in_one_line(error).split(" - For more information")[0])


@contextlib.contextmanager
def masked_errors() -> Iterator[None]:
    """Mask what the errors of a block say.

    Prefect writes it into the states of runs and tasks, their events and tracebacks. The error stays what it is; one
    whose words cannot be changed becomes a RuntimeError.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause:
            cause.args = tuple(masked(part) if isinstance(part, str) else part for part in cause.args)
            cause = cause.__cause__ or cause.__context__
        if (message := str(error)) != masked(message):
            raise RuntimeError(f"{type(error).__name__}: {masked(message)}") from None
        raise


def masking_errors(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose errors are masked. It can be pickled, as flows and tasks are for the workers of a cluster."""

    @functools.wraps(function)
    def masking(*args: P.args, **kwargs: P.kwargs) -> R:
        with masked_errors():
            return function(*args, **kwargs)

    return masking
