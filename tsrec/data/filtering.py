"""Which interactions stay: time window, rating, k-core."""

import numpy as np
import pandas as pd

from tsrec.config import IngestConfig
from tsrec.data.events import Events
from tsrec.errors import ConfigError


def filter_events(events: Events, config: IngestConfig) -> tuple[Events, dict[str, int]]:
    """Apply the time window, the rating threshold, then the k-core; returns what was dropped by each."""
    counts = {}
    keep = np.ones(len(events), dtype=bool)
    if config.since is not None:
        keep &= events.timestamp >= _moment(config.since, "since")
    if config.until is not None:
        keep &= events.timestamp < _moment(config.until, "until")
    counts["n_dropped_by_time"] = int((~keep).sum())
    events = events.take(keep)
    if config.min_rating is not None:
        keep = events.rating >= config.min_rating
        counts["n_dropped_by_rating"] = int((~keep).sum())
        events = events.take(keep)
    before = len(events)
    events = k_core(events, config.min_user_events, config.min_item_events)
    counts["n_dropped_by_k_core"] = before - len(events)
    return events, counts


def k_core(events: Events, min_user_events: int, min_item_events: int) -> Events:
    """Drop users and items with too few events until none is left that has too few."""
    while len(events):
        users = np.bincount(events.user)[events.user] >= min_user_events
        items = np.bincount(events.item)[events.item] >= min_item_events
        keep = users & items
        if keep.all():
            break
        events = events.take(keep)
    return events


def _moment(text: str, field: str) -> int:
    """A raw number as it is, a date in seconds since 1970."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return int(pd.Timestamp(text).timestamp())
    except ValueError:
        raise ConfigError(f"ingest.{field}: {text!r} is neither a number nor an ISO date") from None
