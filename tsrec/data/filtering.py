"""Which interactions stay: time window, rating, k-core."""

import numpy as np

from tsrec.config import IngestConfig
from tsrec.data.events import Events
from tsrec.data.times import Clock, moment


def filter_events(events: Events, clock: Clock, config: IngestConfig) -> tuple[Events, dict[str, int]]:
    """Apply the time window, then the rating threshold; returns what was dropped by each."""
    counts = {}
    keep = np.ones(len(events), dtype=bool)
    if config.since is not None:
        keep &= events.timestamp >= moment(config.since, "since", clock)
    if config.until is not None:
        keep &= events.timestamp < moment(config.until, "until", clock)
    counts["n_dropped_by_time"] = int((~keep).sum())
    events = events.take(keep)
    if config.min_rating is not None:
        keep = events.rating >= config.min_rating
        counts["n_dropped_by_rating"] = int((~keep).sum())
        events = events.take(keep)
    return events, counts


def k_core(events: Events, min_user_events: int, min_item_events: int) -> Events:
    """Drop users and items with too few events until none is left that has too few."""
    while len(events):
        users = np.bincount(events.user) >= min_user_events
        items = np.bincount(events.item) >= min_item_events
        keep = users[events.user] & items[events.item]
        if keep.all():
            break
        events = events.take(keep)
    return events


def renumber(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes without gaps, in the order of the old ones: which old codes there are, and (E,) int32 the new ones."""
    present = np.bincount(codes) > 0
    return np.flatnonzero(present), (np.cumsum(present, dtype=np.int32) - 1)[codes]
