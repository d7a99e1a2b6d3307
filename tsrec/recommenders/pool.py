"""All that any member proposes for a target, and what is known of each proposal: the features that the gate weighs.

Knows ranked lists, histories and train counts; nothing of weights, nor of which item was the right one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsrec.recommenders.ranking import Ranked
from tsrec.recommenders.softmax import log_softmax

MEMBER_FEATURES = ("listed", "share", "log_share", "reciprocal_rank", "log_rank")
"""Of each member: whether its list holds the item; the item's share of the list, by a softmax of the scores at the
member's temperature, and its logarithm; 1/rank; log(1 + length) - log(rank). All are 0 where the item is not listed."""

POPULARITY_FEATURES = ("popularity", "recent_popularity")
ITEM_FEATURES = (*POPULARITY_FEATURES, "repeat", "repeat_recency", "repeat_count")
"""Of the item: log(1 + train events) / 4, of all of them and of the newest ones; whether the history holds it,
1/recency of the newest time, log of how often."""

_LEAST_LOG_SHARE = -12.0


@dataclass(frozen=True)
class Pool:
    """The union of all members' lists of B histories, in order of row and item.

    `rows` (E,) int64; `items` (E,) int64; `ranks` (E, M) int32, 0 where a member does not list the item; `features`
    (E, 5 M + 5) float32: `MEMBER_FEATURES` member by member, then `ITEM_FEATURES`; `n_events` (B,) int64: how long each
    history is.
    """

    rows: np.ndarray
    items: np.ndarray
    ranks: np.ndarray
    features: np.ndarray
    n_events: np.ndarray

    @property
    def n_rows(self) -> int:
        """B, how many histories there are."""
        return len(self.n_events)

    def of_rows(self, wanted: np.ndarray) -> "Pool":
        """Only the entries of the histories where `wanted` (B,) bool is true; rows keep their numbers."""
        return self.of_entries(np.flatnonzero(wanted[self.rows]))

    def of_entries(self, entries: np.ndarray) -> "Pool":
        """Only some entries, in the order given."""
        return replace(
            self,
            rows=self.rows[entries],
            items=self.items[entries],
            ranks=self.ranks[entries],
            features=self.features[entries],
        )


def joined_pool(pools: Sequence[Pool]) -> Pool:
    """The pools of blocks of histories as one of all of them; at least one is given."""
    before = np.cumsum([0, *(pool.n_rows for pool in pools)])
    return Pool(
        np.concatenate([pool.rows + start for pool, start in zip(pools, before, strict=False)]),
        np.concatenate([pool.items for pool in pools]),
        np.concatenate([pool.ranks for pool in pools]),
        np.concatenate([pool.features for pool in pools]),
        np.concatenate([pool.n_events for pool in pools]),
    )


def temperature(lists: Ranked, depth: int) -> float:
    """A member's own scale: the mean spread (standard deviation) of the scores that it gives within a list."""
    scores = np.where(np.isfinite(lists.scores[:, :depth]), lists.scores[:, :depth], np.nan).astype(np.float64)
    listed = np.isfinite(scores).sum(axis=1) > 1
    if not listed.any():
        return 1.0
    spread = np.nanstd(scores[listed], axis=1)
    return float(max(spread.mean(), 1e-6))


def pool_of(
    lists: Mapping[str, Ranked],
    temperatures: Mapping[str, float],
    pasts: Sequence[np.ndarray],
    popularity: np.ndarray,
    depth: int,
) -> Pool:
    """Join the first `depth` proposals of every member.

    Args:
        lists: member -> its lists of the B histories.
        temperatures: member -> what its scores are divided by.
        pasts: B arrays of item numbers, oldest first.
        popularity: (N, 2) float32, `POPULARITY_FEATURES` of every item.
    """
    n_items = len(popularity)
    keys, places, values = [], [], []
    for name, ranked in lists.items():
        proposed = np.isfinite(ranked.scores[:, :depth]) & (ranked.items[:, :depth] >= 0)
        rows, place = np.nonzero(proposed)
        keys.append(rows.astype(np.int64) * n_items + ranked.items[rows, place])
        places.append(place + 1)
        values.append(ranked.scores[rows, place].astype(np.float64) / temperatures[name])
    union, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    rows, items = union // n_items, union % n_items
    ranks = np.zeros((len(union), len(lists)), dtype=np.int32)
    features = np.zeros((len(union), len(MEMBER_FEATURES) * len(lists) + len(ITEM_FEATURES)), dtype=np.float32)
    end = 0
    for member, (key, place, value) in enumerate(zip(keys, places, values, strict=True)):
        mine = inverse[end : end + len(key)]
        end += len(key)
        ranks[mine, member] = place
        first = member * len(MEMBER_FEATURES)
        features[mine, first : first + len(MEMBER_FEATURES)] = _member_features(key // n_items, place, value, depth)
    features[:, -len(ITEM_FEATURES) :] = _item_features(union, items, pasts, popularity)
    return Pool(rows, items, ranks, features, np.array([len(past) for past in pasts], dtype=np.int64))


def _member_features(rows: np.ndarray, place: np.ndarray, value: np.ndarray, depth: int) -> np.ndarray:
    """(E, 5) of one member's proposals, which are in order of row and place."""
    log_share = log_softmax(value, rows)
    columns = (
        np.ones(len(rows)),
        np.exp(log_share),
        1 - np.maximum(log_share, _LEAST_LOG_SHARE) / _LEAST_LOG_SHARE,  # 0 at the least, 1 for all of the list
        1 / place,
        1 - np.log(place) / np.log(1 + depth),
    )
    return np.stack(columns, axis=1)


def _item_features(
    union: np.ndarray, items: np.ndarray, pasts: Sequence[np.ndarray], popularity: np.ndarray
) -> np.ndarray:
    lengths = np.array([len(past) for past in pasts], dtype=np.int64)
    rows = np.repeat(np.arange(len(pasts)), lengths)
    recency = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(rows))
    had = rows * len(popularity) + np.concatenate([*pasts, np.empty(0, dtype=np.int64)]).astype(np.int64)
    seen, inverse, counts = np.unique(had, return_inverse=True, return_counts=True)
    newest = np.zeros(len(seen))
    np.maximum.at(newest, inverse, 1 / recency)
    repeats = np.zeros((len(union), 3))
    if len(seen):
        place = np.searchsorted(seen, union).clip(max=len(seen) - 1)
        hit = seen[place] == union
        repeats[hit] = np.stack([np.ones(hit.sum()), newest[place[hit]], np.log(counts[place[hit]])], axis=1)
    return np.concatenate([popularity[items], repeats], axis=1)
