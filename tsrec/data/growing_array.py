"""An array that grows part by part. A list of parts, put together at the end, would hold all values twice."""

import numpy as np
from numpy.typing import DTypeLike


class GrowingArray:
    """Values of one dtype in the order in which they were appended.

    What it asks for beyond its values is never written to, so it costs addresses, not memory. From some size on, the
    C library gives pieces as large as these back to the system as soon as they are free; small parts it would keep.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self._room = np.empty(0, dtype)
        self._n = 0

    def append(self, part: np.ndarray) -> None:
        """Take in a part, (P,) of a dtype that fits."""
        stop = self._n + len(part)
        if stop > len(self._room):
            room = np.empty(max(stop, 2 * len(self._room)), self._room.dtype)
            room[: self._n] = self._room[: self._n]
            self._room = room
        self._room[self._n : stop] = part
        self._n = stop

    def values(self) -> np.ndarray:
        """(N,) all values so far, without a copy."""
        return self._room[: self._n]
