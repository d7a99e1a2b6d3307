"""The pool: all items that any member proposes for a history, and the features that the gate scores them by.

Knows ranked lists, histories and train counts; nothing of weights, nor of which item is the target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsrec.columns import LLM
from tsrec.recommenders.ranking import Ranked
from tsrec.recommenders.recency import last_events
from tsrec.recommenders.softmax import log_softmax

MEMBER_FEATURES = ("listed", "share", "log_share", "reciprocal_rank", "log_rank")
"""Features of each member; all are 0 where the member does not list the item.

`listed` is 1. `share` is the softmax of the member's scores at its temperature, and `log_share` its logarithm, scaled
to 0..1. `reciprocal_rank` is 1 / rank. `log_rank` falls from 1 at rank 1 to about 0 at the last rank.
"""

POPULARITY_FEATURES = ("popularity", "recent_popularity")
REPEAT_FEATURES = ("repeat", "repeat_recency", "repeat_count")
ITEM_FEATURES = (*POPULARITY_FEATURES, *REPEAT_FEATURES)
"""Features of the item, whichever member proposes it.

`popularity` and `recent_popularity` are log(1 + train events) / 4, of all events and of the newest ones. `repeat` is 1
where the history holds the item, `repeat_recency` 1 / recency of its newest event (1 is the last event of the history),
and `repeat_count` the logarithm of how often the history holds it. These three are 0 for other items.
"""

SCORES = f"{LLM} scores"
"""The name, among members' lists, of those that hold the LLM's log-probability of items that members propose. They
propose nothing themselves: of them only what stands in the pool anyway is read."""

SCORE_FEATURES = ("scored", "log_probability", "scored_log_share")
"""Features of the LLM's scores; all are 0 where the LLM did not score the item.

`scored` is 1. `log_probability` is scaled to 0..1, and so is `scored_log_share`, its logarithm within the items of the
pool that are scored.
"""

_LEAST_LOG_SHARE = -12.0
_LEAST_LOG_PROBABILITY = -24.0  # of a SID that is less likely than one drawn at random, and of its share


@dataclass(frozen=True)
class Pool:
    """The union of M members' lists of B histories: E entries, in order of row and item.

    `rows` (E,) int64: the history of each entry; `items` (E,) int64; `ranks` (E, M) int16: the rank that each member
    gave the item, 0 where it does not list it; `features` (E, 5 M + 5) float32: `MEMBER_FEATURES` member by member,
    then `ITEM_FEATURES`, and between them `SCORE_FEATURES` where the LLM scored the pool; `n_events` (B,) int64: length
    of each history.
    """

    rows: np.ndarray
    items: np.ndarray
    ranks: np.ndarray
    features: np.ndarray
    n_events: np.ndarray

    @property
    def n_rows(self) -> int:
        """B, the number of histories."""
        return len(self.n_events)

    def only_rows(self, mask: np.ndarray) -> "Pool":
        """Only the entries of the histories where `mask` (B,) bool is true; rows keep their numbers."""
        return self if mask.all() else self.take_entries(np.flatnonzero(mask[self.rows]))

    @property
    def is_scored(self) -> bool:
        """Whether the LLM scored it."""
        return self.features.shape[1] > len(MEMBER_FEATURES) * self.ranks.shape[1] + len(ITEM_FEATURES)

    def only_members(self, kept: np.ndarray, *, scores: bool = True) -> "Pool":
        """Only what the members where `kept` (M,) bool is true propose and say, and the LLM's scores if `scores`."""
        entries = np.flatnonzero((self.ranks[:, kept] > 0).any(axis=1))
        columns = np.flatnonzero(feature_columns(kept, [scores] if self.is_scored else []))
        return replace(
            self,
            rows=self.rows[entries],
            items=self.items[entries],
            ranks=self.ranks[entries][:, kept],
            features=self.features[np.ix_(entries, columns)],
        )

    def take_entries(self, entries: np.ndarray) -> "Pool":
        """Only the entries with these indices, in this order."""
        return replace(
            self,
            rows=self.rows[entries],
            items=self.items[entries],
            ranks=self.ranks[entries],
            features=self.features[entries],
        )


def feature_columns(kept: np.ndarray, scores: Sequence[bool] = ()) -> np.ndarray:
    """(W,) bool: the features that are left of a pool where only the members `kept` (M,) bool are.

    `scores`: empty where the LLM did not score the pool; else whether its scores are left.
    """
    of_scores = np.repeat(np.array(scores, dtype=bool), len(SCORE_FEATURES))
    return np.concatenate([np.repeat(kept, len(MEMBER_FEATURES)), of_scores, np.ones(len(ITEM_FEATURES), dtype=bool)])


def concatenate_pools(pools: Sequence[Pool]) -> Pool:
    """One pool of the histories of all `pools`, of which there is at least one."""
    first_rows = np.cumsum([0, *(pool.n_rows for pool in pools)])
    return Pool(
        np.concatenate([pool.rows + first for pool, first in zip(pools, first_rows, strict=False)]),
        np.concatenate([pool.items for pool in pools]),
        np.concatenate([pool.ranks for pool in pools]),
        np.concatenate([pool.features for pool in pools]),
        np.concatenate([pool.n_events for pool in pools]),
    )


def score_temperature(lists: Ranked, depth: int) -> float:
    """What a member's scores are divided by: their standard deviation within a list, averaged over lists.

    Only the first `depth` items of a list count. 1 where no list has two items.
    """
    scores = np.where(np.isfinite(lists.scores[:, :depth]), lists.scores[:, :depth], np.nan).astype(np.float64)
    has_spread = np.isfinite(scores).sum(axis=1) > 1
    if not has_spread.any():
        return 1.0
    deviations = np.nanstd(scores[has_spread], axis=1)
    return float(max(deviations.mean(), 1e-6))


def build_pool(
    lists: Mapping[str, Ranked],
    temperatures: Mapping[str, float],
    pasts: Sequence[np.ndarray],
    popularity: np.ndarray,
    depth: int,
    scores: Ranked | None = None,
) -> Pool:
    """Join the first `depth` items of every member's lists.

    Args:
        lists: member -> its lists of the B histories.
        temperatures: member -> what its scores are divided by.
        pasts: B arrays of item numbers, oldest first.
        popularity: (N, 2) float32, `POPULARITY_FEATURES` of every item.
        depth: items of each list that count.
        scores: the LLM's log-probabilities of items, in any order; those that no member proposes are left out. None:
            the pool has no `SCORE_FEATURES`.
    """
    n_items = len(popularity)
    # A pair of a history and an item is one number, row * n_items + item; sorted, they are in order of row and item.
    pairs, ranks, scaled_scores = [], [], []
    for name, ranked in lists.items():
        is_proposed = np.isfinite(ranked.scores[:, :depth]) & (ranked.items[:, :depth] >= 0)
        rows, places = np.nonzero(is_proposed)
        pairs.append(rows.astype(np.int64) * n_items + ranked.items[rows, places])
        ranks.append(places + 1)
        scaled_scores.append(ranked.scores[rows, places].astype(np.float64) / temperatures[name])
    union, entry_of_pair = np.unique(np.concatenate(pairs), return_inverse=True)
    rows, items = union // n_items, union % n_items
    member_ranks = np.zeros((len(union), len(lists)), dtype=np.int16)
    width = len(MEMBER_FEATURES) * len(lists) + (len(SCORE_FEATURES) if scores is not None else 0) + len(ITEM_FEATURES)
    features = np.zeros((len(union), width), dtype=np.float32)
    stop = 0
    for member in range(len(lists)):
        start, stop = stop, stop + len(pairs[member])
        entries = entry_of_pair[start:stop]  # of the pool, one for each item that the member proposes
        member_ranks[entries, member] = ranks[member]
        column = member * len(MEMBER_FEATURES)
        features[entries, column : column + len(MEMBER_FEATURES)] = _member_features(
            pairs[member] // n_items, ranks[member], scaled_scores[member], depth
        )
    if scores is not None:
        first = len(MEMBER_FEATURES) * len(lists)
        features[:, first : first + len(SCORE_FEATURES)] = _score_features(union, scores, n_items)
    features[:, -len(ITEM_FEATURES) :] = _item_features(union, items, pasts, popularity)
    return Pool(rows, items, member_ranks, features, np.array([len(past) for past in pasts], dtype=np.int64))


def _member_features(rows: np.ndarray, ranks: np.ndarray, scores: np.ndarray, depth: int) -> np.ndarray:
    """(P, 5) `MEMBER_FEATURES` of one member's P proposals, which are in order of row and rank."""
    log_share = log_softmax(scores, rows)
    columns = {
        "listed": np.ones(len(rows)),
        "share": np.exp(log_share),
        "log_share": 1 - np.maximum(log_share, _LEAST_LOG_SHARE) / _LEAST_LOG_SHARE,  # 0 at the least, 1 for all of it
        "reciprocal_rank": 1 / ranks,
        "log_rank": 1 - np.log(ranks) / np.log(1 + depth),
    }
    return np.stack([columns[name] for name in MEMBER_FEATURES], axis=1)


def _score_features(union: np.ndarray, scores: Ranked, n_items: int) -> np.ndarray:
    """(E, 3) `SCORE_FEATURES` of the pool's entries; `union` (E,) are their sorted pairs row * N + item."""
    rows, places = np.nonzero(np.isfinite(scores.scores) & (scores.items >= 0))
    pairs = rows.astype(np.int64) * n_items + scores.items[rows, places]
    entries = np.searchsorted(union, pairs).clip(max=max(len(union) - 1, 0))
    is_in_pool = union[entries] == pairs if len(union) else np.zeros(len(pairs), dtype=bool)
    found = np.full(len(union), np.nan)
    found[entries[is_in_pool]] = scores.scores[rows, places][is_in_pool]
    scored = np.flatnonzero(np.isfinite(found))
    log_probability = found[scored]
    log_share = log_softmax(log_probability, union[scored] // n_items)
    columns = {
        "scored": np.ones(len(scored)),
        "log_probability": 1 - np.maximum(log_probability, _LEAST_LOG_PROBABILITY) / _LEAST_LOG_PROBABILITY,
        "scored_log_share": 1 - np.maximum(log_share, _LEAST_LOG_PROBABILITY) / _LEAST_LOG_PROBABILITY,
    }
    features = np.zeros((len(union), len(SCORE_FEATURES)))
    features[scored] = np.stack([columns[name] for name in SCORE_FEATURES], axis=1)
    return features


def _item_features(
    union: np.ndarray, items: np.ndarray, pasts: Sequence[np.ndarray], popularity: np.ndarray
) -> np.ndarray:
    """(E, 5) `ITEM_FEATURES` of the pool's entries.

    Args:
        union: (E,) sorted pairs row * N + item.
        items: (E,) their item numbers.
        pasts: B arrays of item numbers, oldest first.
        popularity: (N, 2), `POPULARITY_FEATURES` of every item.
    """
    rows, past_items, recency = last_events(pasts)
    events = rows * len(popularity) + past_items
    seen, pair_of_event, counts = np.unique(events, return_inverse=True, return_counts=True)  # `seen`: distinct pairs
    newest = np.zeros(len(seen))
    np.maximum.at(newest, pair_of_event, 1 / recency)
    columns = {name: np.zeros(len(union)) for name in REPEAT_FEATURES}
    if len(seen):
        place = np.searchsorted(seen, union).clip(max=len(seen) - 1)
        is_repeat = seen[place] == union
        columns["repeat"][is_repeat] = 1
        columns["repeat_recency"][is_repeat] = newest[place[is_repeat]]
        columns["repeat_count"][is_repeat] = np.log(counts[place[is_repeat]])
    columns |= {name: popularity[items, column] for column, name in enumerate(POPULARITY_FEATURES)}
    return np.stack([columns[name] for name in ITEM_FEATURES], axis=1)
