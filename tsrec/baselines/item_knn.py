"""Item-kNN: items whose train users overlap (cosine), summed over the last events."""

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from tsrec.baselines.scorer import FitInputs, Scorer
from tsrec.columns import Split

_LAST = 10


def fit(inputs: FitInputs) -> Scorer:
    """Cosine between the columns of the binary user-item matrix of train events."""
    histories, n_items = inputs.histories, inputs.n_items
    train = histories.splits == Split.TRAIN.value
    seen = sparse.csr_matrix(
        (np.ones(int(train.sum())), (histories.users()[train], histories.items[train])),
        shape=(histories.n_users, n_items),
    )
    seen.data[:] = 1
    columns = normalize(seen, axis=0)
    similar = sparse.csr_matrix(columns.T @ columns)
    similar.setdiag(0)

    def score(events: np.ndarray) -> np.ndarray:
        recent = [histories.history_of(int(event), _LAST) for event in events]
        rows = np.repeat(np.arange(len(events)), [len(items) for items in recent])
        had = sparse.csr_matrix((np.ones(len(rows)), (rows, np.concatenate(recent))), shape=(len(events), n_items))
        return (had @ similar).toarray()

    return score
