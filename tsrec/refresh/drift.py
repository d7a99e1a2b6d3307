"""How far new data has moved away from what the champion was made for, and whether a rebuild is due.

Measured on artifacts alone: the champion's and the refreshed ones. A refresh keeps codebooks and SIDs as they are for
ever; what they were not made for adds up until somebody starts anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import DriftConfig
from tsrec.store import Artifact
from tsrec.store.parquet_file import open_parquet

_CHANCE_SEED = 1
_ROWS = 65_536  # of interactions, read at once
_SPLITS = pd.Index([split.value for split in Split])
_MAX_ERROR_RATIO = 2.0  # of squared errors, which has no unit: twice is bad on any data
_EVENT = [C.USER, C.ITEM, C.TIMESTAMP]


def measure_drift(before: Mapping[str, Artifact], after: Mapping[str, Artifact]) -> dict[str, float]:
    """What has changed from the champion's artifacts to the refreshed ones; both hold `ingest` and `sids`.

    Returns:
        `new_items`, `new_users`: shares of the catalogue and of the users that the champion did not have.
        `new_item_events`: share of the newest window's events (the test split) on such items.
        `n_new_events`, `n_gone_events`: events (user, item and time) that the champion did not have, or no longer are
            there; `n_late_events`: of the new ones, those that happened before the newest that it had.
        `n_held_out_events_known`: events that would be held out, had the champion not learned from them.
        `placed_items`: share of the catalogue that frozen codebooks have placed since they were made.
        `quantization_error_known`, `quantization_error_new`: mean squared length of what is left of an item's embedding
            behind the last level; `new` is missing where no item is new, both where SIDs are imported.
        `perplexity_level_N`: how many codes of level N are in use, as the exponential of their entropy.
        `popularity_shift`: Jensen-Shannon divergence, in bits, of the newest window's item shares from those of the
            champion's train events, less what a window of that size drawn from those very events would show.
    """
    old_items, items = (pd.Index(made["ingest"].frame("items", [C.ITEM])[C.ITEM]) for made in (before, after))
    known = old_items.union(items)
    old_events, events = (_read_events(made["ingest"], known) for made in (before, after))
    train = old_events.items[old_events.splits == _SPLITS.get_loc(Split.TRAIN.value)]
    newest = events.items[events.splits == _SPLITS.get_loc(Split.TEST.value)]
    new_items = items.difference(old_items)
    sids = after["sids"]
    drift = {
        "new_items": len(new_items) / len(items),
        "new_users": len(events.users - old_events.users) / len(events.users),
        "new_item_events": float(np.isin(newest, known.get_indexer(new_items)).mean()) if len(newest) else 0.0,
        **_event_changes(old_events, events),
        "n_held_out_events_known": float(after["ingest"].counts.get("n_held_out_events_known_to_base", 0)),
        "placed_items": float(sids.counts.get("n_items_placed", 0)) / len(items),
    }
    errors = ("quantization_error_known", "quantization_error_new")
    drift |= {name: float(sids.counts[name]) for name in errors if name in sids.counts}
    for row in sids.frame("codebook_health").itertuples(index=False):
        drift[f"perplexity_level_{row.level + 1}"] = float(row.perplexity)
    if len(newest) and len(train):
        drift["popularity_shift"] = popularity_shift(pd.Series(train), pd.Series(newest))
    return drift


@dataclass(frozen=True)
class _Events:
    """The ids of all users; and (E,) arrays: a hash of each event (ten million of them as tuples would not fit), its
    item's number int32, its time int64 and its split int8, an index into `_SPLITS`."""

    users: set[str]
    hashes: np.ndarray
    items: np.ndarray
    times: np.ndarray
    splits: np.ndarray


def _read_events(ingest: Artifact, item_ids: pd.Index) -> _Events:
    """The interactions, read part by part; `item_ids` are the ids of the items' numbers."""
    parts, users = [], set[str]()
    parquet = open_parquet(ingest.file("interactions.parquet"))
    for batch in parquet.iter_batches(_ROWS, columns=[*_EVENT, C.SPLIT]):
        rows = batch.to_pandas()
        hashes = pd.util.hash_pandas_object(rows[_EVENT], index=False).to_numpy()
        items = item_ids.get_indexer(rows[C.ITEM]).astype(np.int32)
        splits = _SPLITS.get_indexer(rows[C.SPLIT]).astype(np.int8)
        parts.append((hashes, items, rows[C.TIMESTAMP].to_numpy(), splits))
        users.update(rows[C.USER].unique())
    return _Events(users, *map(np.concatenate, zip(*parts, strict=True)))


def _event_changes(before: _Events, now: _Events) -> dict[str, float]:
    is_new = ~np.isin(now.hashes, before.hashes)
    is_late = is_new & (now.times < before.times.max())
    is_gone = ~np.isin(before.hashes, now.hashes)
    counts = {"n_new_events": is_new, "n_late_events": is_late, "n_gone_events": is_gone}
    return {name: float(flags.sum()) for name, flags in counts.items()}


def rebuild_reasons(drift: Mapping[str, float], bounds: DriftConfig) -> list[str]:
    """Why a rebuild is due, in words; empty where it is not."""
    reasons = []
    if drift["placed_items"] > bounds.max_placed_items:
        reasons.append(
            f"{drift['placed_items']:.0%} of the items have come since the codebooks were made "
            f"(refresh.drift.max_placed_items={bounds.max_placed_items:g})"
        )
    known, new = drift.get("quantization_error_known", 0.0), drift.get("quantization_error_new", 0.0)
    if known > 0 and new > _MAX_ERROR_RATIO * known:
        reasons.append(
            f"the codebooks fit new items {new / known:.1f} times worse than known ones (bound: {_MAX_ERROR_RATIO:g})"
        )
    if drift.get("popularity_shift", 0.0) > bounds.max_popularity_shift:
        reasons.append(
            f"what is bought has shifted by {drift['popularity_shift']:.2f} bits "
            f"(refresh.drift.max_popularity_shift={bounds.max_popularity_shift:g})"
        )
    return reasons


def popularity_shift(before: pd.Series, after: pd.Series) -> float:
    """Jensen-Shannon divergence of two columns of items, in bits, less that of as many draws from `before`."""
    names = pd.Index(before).append(pd.Index(after)).unique()
    counts = [np.bincount(names.get_indexer(column), minlength=len(names)) for column in (before, after)]
    shares = counts[0] / counts[0].sum()
    by_chance = np.random.default_rng(_CHANCE_SEED).multinomial(len(after), shares)
    beyond = _divergence(shares, counts[1]) - _divergence(shares, by_chance)
    return min(1.0, max(0.0, beyond))  # rounding may go a hair beyond one bit


def _divergence(shares: np.ndarray, counts: np.ndarray) -> float:
    from scipy.special import rel_entr

    other = counts / counts.sum()
    middle = (shares + other) / 2
    return float((rel_entr(shares, middle) + rel_entr(other, middle)).sum() / (2 * np.log(2)))
