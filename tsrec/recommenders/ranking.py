"""Ranked lists: top-k of sparse scores, nearest-neighbour search, filters, and filling lists with popular items.

Knows item numbers (row numbers of the catalogue) and scores, nothing of members, histories or files. No function here
makes a (histories x items) matrix: scores are sparse, or come from a nearest-neighbour search, block by block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from tsrec.recommenders.exact_search import ExactSearch

NO_ITEM = -1
FILLED = -np.inf
"""The score of an item that no member proposed: it fills a short list because it is popular."""

_ROWS_AT_ONCE = 256


class Ranked(NamedTuple):
    """Lists of B histories, best first: `items` (B, K) int32, `NO_ITEM` behind the last; `scores` (B, K) float32."""

    items: np.ndarray
    scores: np.ndarray

    def take(self, rows: np.ndarray) -> "Ranked":
        """The lists of the histories `rows`, in this order."""
        return Ranked(self.items[rows], self.scores[rows])


@dataclass(frozen=True)
class Filter:
    """Which items may be shown to which history.

    Of `n_items` items only those where `allowed` (N,) bool is true (None: all of them), and to history b none of the
    item numbers `blocked[b]` (None: nothing is blocked).
    """

    n_items: int
    blocked: Sequence[np.ndarray] | None = None
    allowed: np.ndarray | None = None

    def keeps(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Which pairs of a history (row) and an item may be shown: bool, of the shape that `rows` and `items` share."""
        kept = items >= 0
        if self.allowed is not None:
            kept &= self.allowed[np.maximum(items, 0)]
        if self.blocked is not None:
            # A pair of a history and an item is one number, row * n_items + item.
            lengths = [len(blocked_items) for blocked_items in self.blocked]
            pairs = np.repeat(np.arange(len(self.blocked)), lengths) * self.n_items + np.concatenate(self.blocked)
            kept &= ~np.isin(rows * self.n_items + items, pairs.astype(np.int64))
        return kept

    def max_blocked(self) -> int:
        """The largest number of blocked items of any history, repeats counted."""
        return max(map(len, self.blocked), default=0) if self.blocked is not None else 0

    def for_rows(self, rows: np.ndarray) -> "Filter":
        """The filter of the histories `rows`, in this order."""
        blocked = None if self.blocked is None else [self.blocked[row] for row in rows]
        return Filter(self.n_items, blocked, self.allowed)


def top_k_of_sparse(scores: "sparse.csr_matrix", k: int, allow: Filter) -> Ranked:
    """The `k` best stored entries of every row of (B, N) scores; ties go to the lower item number."""
    n_rows = scores.shape[0]
    rows = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(scores.indptr))
    items, values = scores.indices.astype(np.int64), scores.data
    kept = allow.keeps(rows, items)
    return best_lists(rows[kept], items[kept], values[kept], n_rows, k)


def best_lists(rows: np.ndarray, items: np.ndarray, scores: np.ndarray, n_rows: int, k: int) -> Ranked:
    """`top_k_lists` of entries in any order: the best come first, and ties go to the lower item number."""
    order = np.lexsort((items, -scores, rows))
    return top_k_lists(rows[order], items[order], scores[order], n_rows, k)


def top_k_lists(rows: np.ndarray, items: np.ndarray, scores: np.ndarray, n_rows: int, k: int) -> Ranked:
    """The first `k` entries of every row as lists.

    Args:
        rows: (E,) the list of each entry, ascending.
        items: (E,) item numbers, best first within each row.
        scores: (E,) their scores.
        n_rows: number of lists.
        k: length of the lists.
    """
    place = ranks_in_rows(rows)
    is_shown = place < k
    ranked = empty_lists(n_rows, k)
    ranked.items[rows[is_shown], place[is_shown]] = items[is_shown]
    ranked.scores[rows[is_shown], place[is_shown]] = scores[is_shown]
    return ranked


def ranks_in_rows(rows: np.ndarray) -> np.ndarray:
    """(E,) int64: the place of each entry within its row, from 0; `rows` (E,) ascend."""
    starts, lengths = runs(rows)
    return np.arange(len(rows)) - np.repeat(starts, lengths)


def runs(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) int64 and (R,) int64: where each run of equal numbers begins, and its length; `rows` (E,) are at least 0."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    return starts, np.diff(np.append(starts, len(rows)))


def nearest_items(search: "ExactSearch", queries: np.ndarray, k: int, allow: Filter) -> Ranked:
    """The `k` items whose vectors have the largest inner product with each of the `queries`, (B, D) float32."""
    n_neighbours = min(k + allow.max_blocked(), allow.n_items if allow.allowed is None else int(allow.allowed.sum()))
    if not n_neighbours:
        return empty_lists(len(queries), k)
    scores, items = search.search(queries, n_neighbours, allow.allowed)
    rows = np.arange(len(queries), dtype=np.int64)[:, None]
    return _first_kept(items, scores, allow.keeps(rows, items), k)


def fill_with_popular(ranked: Ranked, by_popularity: np.ndarray, allow: Filter) -> Ranked:
    """Fill short lists with the most popular items that they lack, which get the score `FILLED`.

    Args:
        ranked: lists of at most K items; changed in place.
        by_popularity: (N,) all item numbers, the most popular first.
        allow: what may be shown.

    Returns:
        lists of K items each, or of all that may be shown where those are fewer.
    """
    k = ranked.items.shape[1]
    short = np.flatnonzero((ranked.items < 0).any(axis=1))
    popular = by_popularity if allow.allowed is None else by_popularity[allow.allowed[by_popularity]]
    for start in range(0, len(short), _ROWS_AT_ONCE):
        batch = short[start : start + _ROWS_AT_ONCE]
        batch_filter = allow.for_rows(batch)
        fillers = np.tile(popular[: k + batch_filter.max_blocked()], (len(batch), 1))
        items = np.concatenate([ranked.items[batch], fillers], axis=1)
        scores = np.concatenate([ranked.scores[batch], np.full(fillers.shape, FILLED, dtype=np.float32)], axis=1)
        rows = np.arange(len(batch), dtype=np.int64)[:, None]
        kept = batch_filter.keeps(rows, items.astype(np.int64)) & _is_first_occurrence(items)
        ranked.items[batch], ranked.scores[batch] = _first_kept(items, scores, kept, k)
    return ranked


def empty_lists(n_rows: int, k: int) -> Ranked:
    """`n_rows` lists without items."""
    return Ranked(np.full((n_rows, k), NO_ITEM, dtype=np.int32), np.full((n_rows, k), FILLED, dtype=np.float32))


def _is_first_occurrence(items: np.ndarray) -> np.ndarray:
    """(B, M) bool: the item does not stand further left in its row."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, axis=1)
    new = np.ones(items.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(new)
    np.put_along_axis(first, order, new, axis=1)
    return first


def _first_kept(items: np.ndarray, scores: np.ndarray, kept: np.ndarray, k: int) -> Ranked:
    """Lists of the first `k` entries of each row where `kept` (B, M) is true, in their order."""
    order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    ranked = empty_lists(len(items), k)
    width = order.shape[1]
    is_kept = np.take_along_axis(kept, order, axis=1)
    ranked.items[:, :width] = np.where(is_kept, np.take_along_axis(items, order, axis=1), NO_ITEM)
    ranked.scores[:, :width] = np.where(is_kept, np.take_along_axis(scores, order, axis=1), FILLED)
    return ranked
