"""Addresses for messages, states and logs, without the secrets that people write into them."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

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


@contextlib.contextmanager
def masked_errors() -> Iterator[None]:
    """Mask what the errors of a block say.

    Prefect writes it into the states of runs and tasks, their events and tracebacks. The error stays what it is; one
    whose words cannot be changed becomes a RuntimeError.
    """
    try:
        yield
    except Exception as error:
        each: BaseException | None = error
        while each:
            each.args = tuple(masked(part) if isinstance(part, str) else part for part in each.args)
            each = each.__cause__ or each.__context__
        if (said := str(error)) != masked(said):
            raise RuntimeError(f"{type(error).__name__}: {masked(said)}") from None
        raise


def masking_errors(function: Callable[P, R]) -> Callable[P, R]:
    """A function whose errors are masked. It can be pickled, as flows and tasks are for the workers of a cluster."""

    @functools.wraps(function)
    def masking(*args: P.args, **kwargs: P.kwargs) -> R:
        with masked_errors():
            return function(*args, **kwargs)

    return masking
