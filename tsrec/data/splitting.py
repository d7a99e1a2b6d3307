"""Splits events into train, valid and test: leave-one-out, by time, or as given. Events are sorted by user and time."""

import numpy as np

from tsrec.columns import Split
from tsrec.data.events import SPLITS, Events
from tsrec.data.ordering import split_rank
from tsrec.errors import DataError

_TRAIN, _VALID, _TEST, _HISTORY = map(SPLITS.index, (Split.TRAIN, Split.VALID, Split.TEST, Split.HISTORY))
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
    """All events by time: the first 80 % train, the next 10 % valid, the rest test. A user may be in several.

    Events of one moment stay together: each cut lies where times change, as near to its place as leaves all three
    something. Where there are fewer than three moments, all train.
    """
    times = np.sort(events.timestamp)
    changes = np.flatnonzero(times[1:] != times[:-1]) + 1  # places in `times` where a later moment begins
    split = np.full(len(events), _TRAIN, dtype=np.int8)
    if len(changes) > 1:
        second = _nearest(changes[1:], len(times) * 9 // 10)
        first = _nearest(changes[changes < second], len(times) * 8 // 10)
        split[events.timestamp >= times[first]] = _VALID
        split[events.timestamp >= times[second]] = _TEST
    return split, {}


def as_given(events: Events) -> tuple[np.ndarray, dict[str, int]]:
    """The split column of the raw data, but for events of an earlier split after a later one of the same user.

    Those (train after valid or test, valid after test) become context only: as targets, their histories would hold
    what is to be predicted.
    """
    assert events.split is not None  # they are read where they are asked for
    rank = split_rank(events.split)
    # users stand in order of their codes, so the latest split so far of a user never falls below the last user's
    base = events.user.astype(np.int64) * len(SPLITS)
    latest = base + rank
    np.maximum.accumulate(latest, out=latest)
    latest -= base
    backward = (events.split != _HISTORY) & (rank < latest)
    split = np.where(backward, np.int8(_HISTORY), events.split)
    return split, {"n_splits_set_to_history": int(backward.sum())}


def _nearest(places: np.ndarray, wanted: int) -> int:
    return int(places[np.argmin(np.abs(places - wanted))])


SPLITTERS = {"leave-one-out": leave_one_out, "time": by_time, "column": as_given}


def count_targets(events: Events, split: np.ndarray) -> dict[str, int]:
    """Targets of train, valid and test, and the events of valid and test that are none: no earlier event."""
    first = np.append(True, events.user[1:] != events.user[:-1])
    counts = {f"n_{SPLITS[code]}_targets": int((~first & (split == code)).sum()) for code in (_TRAIN, _VALID, _TEST)}
    for code in (_VALID, _TEST):
        counts[f"n_{SPLITS[code]}_events_without_history"] = int((first & (split == code)).sum())
    return counts


def check_targets(events: Events, split: np.ndarray, method: str) -> None:
    """Nothing can be trained, chosen or tested without targets; better said here than after hours.

    Raises:
        DataError: train, valid or test has no targets; names the setting that gives some, where one does.
    """
    missing = without_targets(events, split)
    if not missing:
        return
    cures = [name for name, other in SPLITTERS.items() if name not in (method, "column")]
    cures = [name for name in cures if not without_targets(events, SPLITTERS[name](events)[0])]
    longest = int(np.bincount(events.user).max())
    why = {
        "leave-one-out": f"it takes users of three events, and of four to learn from; the longest has {longest}",
        "time": f"a target needs an earlier event of its user, and times to cut between; the longest has {longest}",
        "column": "a target needs an earlier event of its user",
    }[method]
    cure = f"set ingest.split={cures[0]}, which gives all three" if cures else "more events of each user are needed"
    raise DataError(f"ingest.split={method} leaves no {' and no '.join(missing)} targets: {why}; {cure}")


def without_targets(events: Events, split: np.ndarray) -> list[str]:
    """The names of the splits (train, valid, test) that have no target."""
    counts = count_targets(events, split)
    return [name for name in (Split.TRAIN, Split.VALID, Split.TEST) if not counts[f"n_{name}_targets"]]
