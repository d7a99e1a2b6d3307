"""Which events are learned from, chosen on and tested on. Events come in order of user and time."""

import numpy as np

from tsrec.columns import Split
from tsrec.data.events import SPLITS, Events

_TRAIN, _VALID, _TEST = (SPLITS.index(split.value) for split in (Split.TRAIN, Split.VALID, Split.TEST))
_SHORTEST = 3  # one event each to learn from, to choose on and to test on


def leave_one_out(events: Events) -> tuple[np.ndarray, dict[str, int]]:
    """Each user's last event is test, the one before it valid; users with fewer than three events only train."""
    lengths = np.bincount(events.user)
    last = np.cumsum(lengths) - 1
    long = lengths >= _SHORTEST
    split = np.full(len(events), _TRAIN, dtype=np.int8)
    split[last[long]] = _TEST
    split[last[long] - 1] = _VALID
    return split, {"n_users_too_short_to_split": int((lengths[lengths > 0] < _SHORTEST).sum())}


def by_time(events: Events) -> tuple[np.ndarray, dict[str, int]]:
    """All events by time: the first 80 % train, the next 10 % valid, the rest test. A user may be in several."""
    order = np.argsort(events.timestamp, kind="stable")
    split = np.empty(len(events), dtype=np.int8)
    first, second = len(events) * 8 // 10, len(events) * 9 // 10
    split[order[:first]], split[order[first:second]], split[order[second:]] = _TRAIN, _VALID, _TEST
    return split, {}


def as_given(events: Events) -> tuple[np.ndarray, dict[str, int]]:
    """The split column of the raw data."""
    return events.split, {}


SPLITTERS = {"leave-one-out": leave_one_out, "time": by_time, "column": as_given}
