"""How long work will take, by work that was measured: a fixed part, and one for each unit of it.

Units are tokens where the LLM decodes, and wishes where they are ranked.
"""

import threading

_MEMORY = 0.85  # weight of the past against each new measurement
_CAUTION = 1.2  # what is promised is longer than what is expected by this factor
_LEAST_SHARE = 0.1  # of a mean measurement that its units account for, whatever the fit says


class Timing:
    """A straight line through measured times by least squares, the newest counting most. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = self._x = self._xx = self._y = self._xy = 0.0

    def measured(self, units: int, seconds: float) -> None:
        """Learn from one piece of work."""
        with self._lock:
            old = _MEMORY
            self._n = old * self._n + 1
            self._x, self._xx = old * self._x + units, old * self._xx + units**2
            self._y, self._xy = old * self._y + seconds, old * self._xy + units * seconds

    def seconds(self, units: int) -> float:
        """How long so many units take, on the safe side; 0 before any was measured."""
        with self._lock:
            if not self._n:
                return 0.0
            x, y = self._x / self._n, self._y / self._n
            spread = self._xx / self._n - x * x
            rate = y / x  # where all measurements are alike, time is taken to grow with units
            slope = (self._xy / self._n - x * y) / spread if spread > 1e-6 * x * x else rate
            slope = min(max(slope, _LEAST_SHARE * rate), rate)
            return _CAUTION * (y + slope * (units - x))
