"""Item-kNN: items whose train users overlap (cosine), summed over the last events of a history.

Only a user's newest train events count, and only an item's nearest neighbours are kept. So neither a history of
thousands of events nor an item that everybody has fills the memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from tsrec.columns import Split
from tsrec.config import Section
from tsrec.histories import Histories
from tsrec.recommenders.member import FitInputs
from tsrec.recommenders.ranking import Filter, Ranked, top_k_of_sparse
from tsrec.recommenders.recency import last_events
from tsrec.store.sparse_file import load_sparse, save_sparse

_ITEMS_AT_ONCE = 2048
_LAST = 10  # events of a history that count, as of transitions
_NEIGHBOURS = 200  # kept of each item: as many as a list has by default
_USER_EVENTS = 200  # the newest train events of each user, for pairs of items grow with the square
_FILE = "neighbours.safetensors"


@dataclass(frozen=True)
class ItemKnn:
    """`similar` (N, N): cosines of every item with its nearest neighbours."""

    similar: sparse.csr_matrix

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """Neighbours of the last items; nothing where none is known."""
        rows, items, _ = last_events(pasts, _LAST)
        last_items = sparse.csr_matrix((np.ones(len(rows)), (rows, items)), shape=(len(pasts), self.similar.shape[0]))
        return top_k_of_sparse(sparse.csr_matrix(last_items @ self.similar), k, allow)


def fit(inputs: FitInputs) -> None:
    """Cosine between the columns of the binary user-item matrix of train events."""
    similar = cosine_neighbours(inputs.histories, inputs.catalogue.n_items)
    save_sparse(similar, inputs.folder / _FILE)


def load(folder: Path, _: Section) -> ItemKnn:
    """Open what `fit` saved."""
    return ItemKnn(load_sparse(folder / _FILE))


def cosine_neighbours(histories: Histories, n_items: int) -> sparse.csr_matrix:
    """(n_items, n_items) cosines of every item with its nearest neighbours, itself aside."""
    from sklearn.preprocessing import normalize  # needed to fit, not to recommend

    train = np.flatnonzero(histories.splits == Split.TRAIN.value)
    users = histories.users()[train]
    n_after = np.searchsorted(users, users, side="right") - np.arange(len(users))  # train events from this one on
    recent = n_after <= _USER_EVENTS
    seen = sparse.csr_matrix(
        (np.ones(int(recent.sum())), (users[recent], histories.items[train][recent])),
        shape=(histories.n_users, n_items),
    )
    seen.data[:] = 1
    by_user = sparse.csr_matrix(normalize(seen, axis=0))
    by_item = sparse.csr_matrix(by_user.T)
    blocks = []
    for start in range(0, n_items, _ITEMS_AT_ONCE):
        block = sparse.csr_matrix(by_item[start : start + _ITEMS_AT_ONCE] @ by_user)  # both by rows: none is converted
        n_rows = block.shape[0]
        itself = np.repeat(np.arange(n_rows), np.diff(block.indptr)) + start == block.indices
        block.data[itself] = 0
        block.eliminate_zeros()
        near = top_k_of_sparse(block, _NEIGHBOURS, Filter(n_items))
        rows, places = np.nonzero(near.items >= 0)
        blocks.append(
            sparse.csr_matrix((near.scores[rows, places], (rows, near.items[rows, places])), shape=(n_rows, n_items))
        )
    return sparse.csr_matrix(sparse.vstack(blocks))
