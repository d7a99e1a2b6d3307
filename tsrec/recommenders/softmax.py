"""Softmax within groups of different sizes, as pools of proposals are."""

import numpy as np

from tsrec.recommenders.ranking import runs


def log_softmax(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(E,) float64: each score as a log-probability within its row; the entries of a row lie together."""
    if not len(rows):
        return scores
    starts, lengths = runs(rows)
    shifted = scores - np.repeat(np.maximum.reduceat(scores, starts), lengths)
    totals = np.add.reduceat(np.exp(shifted), starts)
    return shifted - np.repeat(np.log(totals), lengths)
