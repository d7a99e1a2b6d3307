"""Finds the range of sorted texts that begin with a prefix. Knows nothing of what the texts are."""

from bisect import bisect_left
from collections.abc import Callable

_BEHIND_ALL = "\U0010ffff"


def prefix_range(prefix: str, n_texts: int, text_at: Callable[[int], str]) -> tuple[int, int]:
    """The places [low, high) of the texts that begin with `prefix`.

    Args:
        prefix: the beginning. Empty: all texts begin with it.
        n_texts: how many texts there are, in ascending order.
        text_at: the text at a place.
    """
    low = bisect_left(range(n_texts), prefix, key=text_at)
    return low, bisect_left(range(n_texts), prefix + _BEHIND_ALL, low, key=text_at)
