"""Which events of valid and test are ranked: all of them, or as many as the rules say, drawn at random.

Every method ranks the same targets, so that whatever is compared is compared on the same ones.
"""

from dataclasses import dataclass, replace

import numpy as np

from tsrec.columns import Split
from tsrec.config import RecommendConfig
from tsrec.errors import DataError
from tsrec.histories import Histories

SEED = 1
"""Seed of every draw of targets. All methods share it, so that they are compared on the same targets."""


@dataclass(frozen=True)
class Targets:
    """The T targets that are ranked. `events` (T,) are row numbers of the histories; those of valid come first."""

    histories: Histories
    events: np.ndarray

    @property
    def items(self) -> np.ndarray:
        """(T,) item number of each target: the one that a list should hold."""
        return self.histories.items[self.events]

    @property
    def users(self) -> np.ndarray:
        """(T,) user index of each target."""
        return np.searchsorted(self.histories.offsets, self.events, side="right") - 1

    @property
    def positions(self) -> np.ndarray:
        """(T,) int64: the number of earlier events of each target's user."""
        return self.events - self.histories.offsets[self.users]

    def take(self, rows: np.ndarray) -> "Targets":
        """The targets `rows`, in this order."""
        return replace(self, events=self.events[rows])

    def is_in_split(self, split: Split) -> np.ndarray:
        """(T,) bool: which targets belong to `split`."""
        return self.histories.splits[self.events] == split.value

    def only_split(self, split: Split) -> "Targets":
        """The targets of `split` alone, in the same order."""
        return self.take(np.flatnonzero(self.is_in_split(split)))

    def pasts(self, rows: slice | np.ndarray = slice(None)) -> list[np.ndarray]:
        """For each target in `rows`: the item numbers of its user's earlier events, all of them, oldest first."""
        return [self.histories.history_of(int(event)) for event in self.events[rows]]


def select_targets(histories: Histories, rules: RecommendConfig) -> Targets:
    """The targets of valid, then those of test. Each split has at most as many as `rules` say, drawn at random."""
    valid = sample_events(histories.target_events(Split.VALID), rules.max_valid_targets, [SEED, 0])
    test = sample_events(histories.target_events(Split.TEST), rules.max_test_targets, [SEED, 1])
    return Targets(histories, np.concatenate([valid, test]))


def sample_events(events: np.ndarray, most: int | None, seed: list[int]) -> np.ndarray:
    """At most `most` of the `events` (T,), drawn at random and kept in order; None: all of them."""
    if most is None or len(events) <= most:
        return events
    return np.sort(np.random.default_rng(seed).choice(events, most, replace=False))


def check_targets(targets: Targets) -> None:
    """Raise DataError where there is nothing to rank."""
    if not len(targets.events):
        raise DataError("no targets in valid or test: no user has an earlier event; see ingest.split")
