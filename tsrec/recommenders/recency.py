"""The newest events of many histories in one flat list, each with its recency. Knows item numbers alone."""

from collections.abc import Sequence

import numpy as np


def last_events(pasts: Sequence[np.ndarray], n_last: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last events of B histories, flat and in order of history.

    Args:
        pasts: B arrays of item numbers, oldest first.
        n_last: events of each history that are taken, at most; None: all.

    Returns:
        (E,) the history of each event, (E,) its item number, and (E,) its recency: 1 for the newest, 2 for the one
        before it.
    """
    recent = pasts if n_last is None else [past[-n_last:] for past in pasts]
    lengths = np.array([len(part) for part in recent], dtype=np.int64)
    rows = np.repeat(np.arange(len(recent)), lengths)
    ends = np.cumsum(lengths)
    recency = np.repeat(ends, lengths) - np.arange(len(rows))  # from an event to the end of its own history
    items = np.concatenate([*recent, np.empty(0, dtype=np.int64)]).astype(np.int64)
    return rows, items, recency
