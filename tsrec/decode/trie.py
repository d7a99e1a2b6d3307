"""The trie of all existing SIDs as flat arrays (compressed sparse rows), after STATIC (arXiv 2602.22647).

Nodes are numbered level by level, in order of their code paths, so the edge that leads to a node and the node itself
share one number: edge e of level l is node e of level l + 1. Knows codes and item indices, nothing of tokens.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trie:
    """All existing SIDs of N items on L levels.

    `child_start[l]` (n_nodes_l + 1,) int64: node n of level l has the edges child_start[l][n] up to, and without,
    child_start[l][n + 1]. `child_code[l]` (n_edges_l,) int64: their codes, ascending within a node. `item_start`
    (n_leaves + 1,) and `items` (N,) int64 hold the items of every leaf in the same form, in order of priority. `paths`
    (N, L) int64: the nodes that each item passes at levels 1 to L.
    """

    child_start: tuple[np.ndarray, ...]
    child_code: tuple[np.ndarray, ...]
    item_start: np.ndarray
    items: np.ndarray
    paths: np.ndarray

    @property
    def n_levels(self) -> int:
        """Levels of a SID."""
        return len(self.child_code)

    @property
    def n_leaves(self) -> int:
        """Number of distinct SIDs."""
        return len(self.item_start) - 1

    @classmethod
    def build(cls, codes: np.ndarray, priority: np.ndarray | None = None) -> "Trie":
        """Build from the SIDs of all items.

        Args:
            codes: (N, L) int, one row per item.
            priority: (N,) numbers; of items that share a SID the higher comes first, then the lower index.
        """
        n_items, n_levels = codes.shape
        paths = np.zeros((n_items, n_levels), dtype=np.int64)
        starts, edges = [], []
        parent, n_parents = np.zeros(n_items, dtype=np.int64), 1
        for level in range(n_levels):
            pairs = np.stack([parent, codes[:, level].astype(np.int64)], axis=1)
            children, inverse = np.unique(pairs, axis=0, return_inverse=True)
            starts.append(np.searchsorted(children[:, 0], np.arange(n_parents + 1)))
            edges.append(children[:, 1])
            parent, n_parents = inverse.ravel().astype(np.int64), len(children)
            paths[:, level] = parent
        rank = np.zeros(n_items) if priority is None else -np.asarray(priority, dtype=np.float64)
        order = np.lexsort((np.arange(n_items), rank, parent))
        item_start = np.searchsorted(parent[order], np.arange(n_parents + 1))
        return cls(tuple(starts), tuple(edges), item_start, order, paths)

    def items_of(self, leaf: int) -> np.ndarray:
        """Indices of the items that share the SID `leaf`, in order of priority."""
        return self.items[self.item_start[leaf] : self.item_start[leaf + 1]]
