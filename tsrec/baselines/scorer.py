"""The interface of the family: fitting a baseline gives a function that scores all items for some events."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsrec.config import BaselinesConfig
from tsrec.histories import Histories

Scorer = Callable[[np.ndarray], np.ndarray]
"""(B,) event rows -> (B, n_items) float scores; only events before each may be looked at."""


@dataclass(frozen=True)
class FitInputs:
    """What a baseline is fitted on. `work` outlives a kill."""

    histories: Histories
    n_items: int
    config: BaselinesConfig
    work: Path


Baseline = Callable[[FitInputs], Scorer]
