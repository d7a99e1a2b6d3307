"""Which interactions stay: time window, rating, k-core."""

import numpy as np
import pandas as pd

from tsrec.config import IngestConfig
from tsrec.data.events import Events
from tsrec.errors import ConfigError

_FIRST_MILLISECONDS = 10**11  # in seconds the year 5138, in milliseconds 1973


def filter_events(events: Events, config: IngestConfig) -> tuple[Events, dict[str, int]]:
    """Apply the time window, the rating threshold, then the k-core; returns what was dropped by each."""
    counts = {}
    keep = np.ones(len(events), dtype=bool)
    if config.since is not None:
        keep &= events.timestamp >= _moment(config.since, "since", events.timestamp)
    if config.until is not None:
        keep &= events.timestamp < _moment(config.until, "until", events.timestamp)
    counts["n_dropped_by_time"] = int((~keep).sum())
    events = events.take(keep)
    if config.min_rating is not None:
        keep = events.rating >= config.min_rating
        counts["n_dropped_by_rating"] = int((~keep).sum())
        events = events.take(keep)
    core = k_core(events, config.min_user_events, config.min_item_events)
    counts["n_dropped_by_k_core"] = len(events) - len(core)
    counts["n_users_dropped_by_k_core"] = len(np.unique(events.user)) - len(np.unique(core.user))
    return core, counts


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


def _moment(text: str, field: str, timestamps: np.ndarray) -> int:
    """A raw number as it is; a date since 1970 in the unit of `timestamps`: seconds or, as Amazon's of 2023, ms."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        moment = pd.Timestamp(text)
    except ValueError:
        raise ConfigError(f"ingest.{field}: {text!r} is neither a number nor an ISO date") from None
    in_milliseconds = len(timestamps) > 0 and int(timestamps.max()) >= _FIRST_MILLISECONDS
    return int(moment.timestamp() * (1000 if in_milliseconds else 1))
