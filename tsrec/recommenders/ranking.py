"""Ranked lists of items: the best of sparse scores, the nearest of vectors, what may not be shown, and filling up.

Knows item numbers (row numbers of the catalogue) and scores, nothing of members, histories or files. No function here
makes a (histories x items) matrix: scores are sparse, or come from a nearest-neighbour search, block by block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import faiss
    from scipy import sparse

NO_ITEM = -1
FILLED = -np.inf
"""The score of an item that a member did not propose itself: popularity put it there, so that the list is full."""

_FILLED_AT_ONCE = 256


class Ranked(NamedTuple):
    """Lists of B histories, best first: `items` (B, K) int32, `NO_ITEM` behind the last; `scores` (B, K) float32."""

    items: np.ndarray
    scores: np.ndarray

    def of(self, rows: np.ndarray) -> "Ranked":
        """The lists of some of the histories."""
        return Ranked(self.items[rows], self.scores[rows])


@dataclass(frozen=True)
class Filter:
    """What may be shown: of `n_items` items those where `allowed` (N,) bool is true (None: all), and for history b
    none of the item numbers `blocked[b]` (None: nothing is blocked)."""

    n_items: int
    blocked: Sequence[np.ndarray] | None = None
    allowed: np.ndarray | None = None

    def keeps(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Which pairs of a history (row) and an item may be shown: bool, in the shape of both."""
        kept = items >= 0
        if self.allowed is not None:
            kept &= self.allowed[np.maximum(items, 0)]
        if self.blocked is not None:
            lengths = [len(taken) for taken in self.blocked]
            keys = np.repeat(np.arange(len(self.blocked)), lengths) * self.n_items + np.concatenate(self.blocked)
            kept &= ~np.isin(rows * self.n_items + items, keys.astype(np.int64))
        return kept

    def most_blocked(self) -> int:
        """The most items that are blocked for one history, repeats counted."""
        return max(map(len, self.blocked), default=0) if self.blocked is not None else 0

    def rows(self, rows: np.ndarray) -> "Filter":
        """The same for some of the histories."""
        blocked = None if self.blocked is None else [self.blocked[row] for row in rows]
        return Filter(self.n_items, blocked, self.allowed)


def best_of_sparse(scores: "sparse.csr_matrix", k: int, allow: Filter) -> Ranked:
    """The `k` best stored entries of every row of (B, N) scores; ties go to the lower item number."""
    n_rows = scores.shape[0]
    rows = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(scores.indptr))
    items, values = scores.indices.astype(np.int64), scores.data
    kept = allow.keeps(rows, items)
    rows, items, values = rows[kept], items[kept], values[kept]
    order = np.lexsort((items, -values, rows))
    return lists_of(rows[order], items[order], values[order], n_rows, k)


def lists_of(rows: np.ndarray, items: np.ndarray, scores: np.ndarray, n_rows: int, k: int) -> Ranked:
    """The first `k` entries of every row as lists; the three (E,) arrays are in order of row, best first within it."""
    place = places_of(rows)
    first = place < k
    ranked = empty(n_rows, k)
    ranked.items[rows[first], place[first]] = items[first]
    ranked.scores[rows[first], place[first]] = scores[first]
    return ranked


def places_of(rows: np.ndarray) -> np.ndarray:
    """(E,) int64: how many entries of its own row stand before each; the entries of a row lie together, rows ascend."""
    return np.arange(len(rows)) - np.searchsorted(rows, rows)


def nearest(index: "faiss.Index", queries: np.ndarray, k: int, allow: Filter) -> Ranked:
    """The `k` items with the largest inner product, by an exact faiss index; `queries` is (B, D) float32."""
    wanted = min(k + allow.most_blocked(), allow.n_items)
    parameters = None
    if allow.allowed is not None:
        wanted = min(wanted, int(allow.allowed.sum()))
        import faiss

        bits: Any = np.packbits(allow.allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg]  # its stubs lack it
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    if not wanted:
        return empty(len(queries), k)
    scores, items = index.search(np.ascontiguousarray(queries, dtype=np.float32), wanted, params=parameters)
    rows = np.arange(len(queries), dtype=np.int64)[:, None]
    return _first(items, scores, allow.keeps(rows, items), k)


def fill(ranked: Ranked, by_popularity: np.ndarray, allow: Filter) -> Ranked:
    """Lists with no gap: behind what a member proposed, the most popular other items, with the score `FILLED`.

    Args:
        ranked: lists of at most K items.
        by_popularity: (N,) all item numbers, the most popular first.

    Returns:
        lists of K items each, or of all that may be shown where those are fewer.
    """
    k = ranked.items.shape[1]
    short = np.flatnonzero((ranked.items < 0).any(axis=1))
    pool = by_popularity if allow.allowed is None else by_popularity[allow.allowed[by_popularity]]
    for start in range(0, len(short), _FILLED_AT_ONCE):
        some = short[start : start + _FILLED_AT_ONCE]
        mine = allow.rows(some)
        more = np.tile(pool[: k + mine.most_blocked()], (len(some), 1))
        items = np.concatenate([ranked.items[some], more], axis=1)
        scores = np.concatenate([ranked.scores[some], np.full(more.shape, FILLED, dtype=np.float32)], axis=1)
        rows = np.arange(len(some), dtype=np.int64)[:, None]
        kept = mine.keeps(rows, items.astype(np.int64)) & _is_first(items)
        ranked.items[some], ranked.scores[some] = _first(items, scores, kept, k)
    return ranked


def empty(n_rows: int, k: int) -> Ranked:
    """Lists that hold nothing yet."""
    return Ranked(np.full((n_rows, k), NO_ITEM, dtype=np.int32), np.full((n_rows, k), FILLED, dtype=np.float32))


def _is_first(items: np.ndarray) -> np.ndarray:
    """(B, M) bool: not a repetition of an item further left."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, axis=1)
    new = np.ones(items.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(new)
    np.put_along_axis(first, order, new, axis=1)
    return first


def _first(items: np.ndarray, scores: np.ndarray, kept: np.ndarray, k: int) -> Ranked:
    """The first `k` kept entries of each row, in their order."""
    order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    ranked = empty(len(items), k)
    width = order.shape[1]
    chosen = np.take_along_axis(kept, order, axis=1)
    ranked.items[:, :width] = np.where(chosen, np.take_along_axis(items, order, axis=1), NO_ITEM)
    ranked.scores[:, :width] = np.where(chosen, np.take_along_axis(scores, order, axis=1), FILLED)
    return ranked
