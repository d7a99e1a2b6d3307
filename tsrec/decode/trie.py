"""The trie of all existing SIDs as flat arrays (compressed sparse rows), after STATIC (arXiv 2602.22647).

Nodes are numbered level by level, in order of their code paths, so the edge that leads to a node and the node itself
share one number: edge e of level l is node e of level l + 1. Knows codes and item indices, nothing of tokens.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trie:
    """All existing SIDs of N items on L levels.

    Numbers of nodes and items are int32, or int64 where there are more than two billion items.

    `child_start[l]` (n_nodes_l + 1,): node n of level l has the edges child_start[l][n] up to, and without,
    child_start[l][n + 1]. `child_code[l]` (n_edges_l,) int32: their codes, ascending within a node. `items` (N,): all
    items in order of their SIDs; those that share one in order of priority. `item_starts[l]` (n_edges_l + 1,): where
    the items below each of these edges begin in `items`. `paths` (N, L): the nodes that each item passes at levels 1
    to L.
    """

    child_start: tuple[np.ndarray, ...]
    child_code: tuple[np.ndarray, ...]
    item_starts: tuple[np.ndarray, ...]
    items: np.ndarray
    paths: np.ndarray

    @property
    def n_levels(self) -> int:
        """Levels of a SID."""
        return len(self.child_code)

    @property
    def n_leaves(self) -> int:
        """Number of distinct SIDs."""
        return len(self.child_code[-1])

    @property
    def item_start(self) -> np.ndarray:
        """(n_leaves + 1,): where the items of each leaf begin in `items`."""
        return self.item_starts[-1]

    @classmethod
    def build(cls, codes: np.ndarray, priority: np.ndarray | None = None) -> "Trie":
        """Build from the SIDs of all items.

        Args:
            codes: (N, L) int, one row per item.
            priority: (N,) numbers; of items that share a SID the higher comes first, then the lower index.
        """
        n_items, n_levels = codes.shape
        number = np.int32 if n_items <= np.iinfo(np.int32).max else np.int64
        levels = codes.astype(np.min_scalar_type(int(codes.max(initial=0))))  # short codes are sorted by their digits
        rank = () if priority is None else (-np.asarray(priority, dtype=np.float64),)
        order = np.lexsort((*rank, *levels.T[::-1])).astype(number)  # stable: ties stay in order of their index
        paths = np.empty((n_items, n_levels), dtype=number)
        begins_node = np.arange(n_items) == 0  # of the items in order: the first one below each node
        parent_start = np.zeros(1, dtype=number)
        child_start, child_code, item_starts = [], [], []
        for level in range(n_levels):
            code = levels[order, level]
            begins_node[1:] |= code[1:] != code[:-1]
            start = np.flatnonzero(begins_node).astype(number)
            child_start.append(np.append(np.searchsorted(start, parent_start), len(start)).astype(number))
            child_code.append(code[start].astype(np.int32))
            item_starts.append(np.append(start, number(n_items)))
            paths[order, level] = np.cumsum(begins_node, dtype=number) - 1
            parent_start = start
        return cls(tuple(child_start), tuple(child_code), tuple(item_starts), order, paths)

    def items_of(self, leaf: int) -> np.ndarray:
        """Indices of the items that share the SID `leaf`, in order of priority."""
        return self.items[self.item_start[leaf] : self.item_start[leaf + 1]]
