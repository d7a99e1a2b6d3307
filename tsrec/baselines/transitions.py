"""Transitions: what tends to follow what. One second of counting that ties 8 GPUs of fine-tuning on Industrial.

Item-to-item moves within a window of 3, weighed by 1/distance, damped by the square root of the source item's
popularity, summed over the last 10 events weighed by 1/recency; the history's own items add 0.5/recency. Items that
nothing leads to follow in order of popularity, below all others: a short list is filled, not left to item order.
"""

import numpy as np
from scipy import sparse

from tsrec.baselines.scorer import FitInputs, Scorer
from tsrec.columns import Split
from tsrec.histories import Histories

_WINDOW = 3
_LAST = 10
_OWN = 0.5
_FILL = 1e-6  # far below the least real score, 1 / (window * last * sqrt(popularity))


def fit(inputs: FitInputs) -> Scorer:
    """Count on train events alone."""
    histories, n_items = inputs.histories, inputs.n_items
    moves = count_transitions(histories, n_items)
    popularity = np.bincount(histories.items[histories.splits == Split.TRAIN.value], minlength=n_items)
    fill = _FILL * popularity / max(1, popularity.max())

    def score(events: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(events), n_items))
        for row, event in enumerate(events):
            recent = histories.history_of(int(event), _LAST)[::-1]
            for recency, item in enumerate(recent, start=1):
                place = slice(moves.indptr[item], moves.indptr[item + 1])
                scores[row, moves.indices[place]] += moves.data[place] / recency
                scores[row, item] += _OWN / recency
        return np.where(scores > 0, scores, fill)

    return score


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
