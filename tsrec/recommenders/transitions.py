"""Transitions: counts of which item follows which in users' histories.

Moves from item to item within a window weigh 1/distance, divided by the square root of the source item's popularity. A
score sums them over the last events of a history, each weighted by 1/recency. The history's own items get a further
1/recency, times a constant. One second of counting ties 8 GPUs of fine-tuning on Industrial.
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

_FILE = "moves.safetensors"
# These three are those of the baseline whose published figures a test reproduces.
_WINDOW = 3  # events that a move may lead ahead, at most
_LAST = 10  # events of a history that count
_OWN = 0.5  # weight of the history's own items, for data in which items repeat


@dataclass(frozen=True)
class Transitions:
    """`moves` (N, N): damped counts, row = source, column = what followed."""

    moves: sparse.csr_matrix

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """Items that followed the last ones, and those themselves; nothing where no move is known."""
        rows, items, recency = last_events(pasts, _LAST)
        history_weights = sparse.csr_matrix((1 / recency, (rows, items)), shape=(len(pasts), self.moves.shape[0]))
        return top_k_of_sparse(sparse.csr_matrix(history_weights @ self.moves + _OWN * history_weights), k, allow)


def fit(inputs: FitInputs) -> None:
    """Count on train events alone."""
    moves = count_transitions(inputs.histories, inputs.catalogue.n_items)
    save_sparse(moves, inputs.folder / _FILE)


def load(folder: Path, _: Section) -> Transitions:
    """Open what `fit` saved."""
    return Transitions(load_sparse(folder / _FILE))


def count_transitions(histories: Histories, n_items: int) -> sparse.csr_matrix:
    """(n_items, n_items) damped counts: row = source, column = what followed."""
    train = histories.splits == Split.TRAIN.value
    items, users = histories.items[train], histories.users()[train]
    counts = sparse.csr_matrix((n_items, n_items))
    for distance in range(1, _WINDOW + 1):
        same = users[distance:] == users[:-distance]
        source, target = items[:-distance][same], items[distance:][same]
        weights = np.full(len(source), 1 / distance)
        counts = counts + sparse.csr_matrix((weights, (source, target)), shape=(n_items, n_items))
    popularity = np.bincount(items, minlength=n_items)
    return sparse.csr_matrix(sparse.diags(1 / np.sqrt(np.maximum(popularity, 1))) @ counts)
