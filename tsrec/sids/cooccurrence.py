"""Co-occurrence factors: which items are bought together, as further dimensions of an item's text embedding.

They are a truncated SVD of the positive pointwise mutual information (Levy and Goldberg, NeurIPS 2014) of items that
lie near one another in users' histories. Only `train` events are read.
"""

import logging

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from tsrec.columns import Split
from tsrec.config import SidsConfig
from tsrec.histories import Histories
from tsrec.sids.quantization import row_slices

_WINDOW = 5  # two train events of a user co-occur if they are at most so many events apart
_N_FACTORS = 64  # numbers per item that co-occurrence is reduced to
_FLOAT64_AT_MOST = 200_000  # items; of more, half the memory counts for more than the last digits

logger = logging.getLogger(__name__)


def cooccurrence_factors(embeddings: np.ndarray, histories: Histories, config: SidsConfig) -> np.ndarray:
    """(N, F) float32 co-occurrence factors, to be appended to (N, D) `embeddings`.

    The factors are centred. Their root mean square length is `config.cooccurrence` times that of the embeddings, over
    the items that co-occur with any other. All other items get zeros, the mean: so the SID of an item without train
    events, or one that came after the quantizer was made, depends on its text alone. Where no items co-occur, all
    factors are 0, and a warning is logged.
    """
    n_items = len(embeddings)
    counts = cooccurrences(histories, n_items, _WINDOW)
    known = counts.getnnz(axis=1) > 0
    factors = np.zeros((n_items, min(_N_FACTORS, n_items)))
    if known.any():
        factors = ppmi_factors(counts, _N_FACTORS, config.seed)
        del counts  # gigabytes, of many items
        factors = np.where(known[:, None], factors - factors[known].mean(axis=0), 0)
    spread = float(np.sqrt(np.square(factors[known]).sum(axis=1).mean())) if known.any() else 0.0
    if not spread:
        logger.warning("sids.cooccurrence: nothing of train is bought together; SIDs are those of the texts alone")
        return np.zeros_like(factors, dtype=np.float32)
    centre, squares = embeddings.mean(axis=0), np.empty(len(embeddings), dtype=embeddings.dtype)
    for rows in row_slices(len(embeddings)):
        squares[rows] = np.square(embeddings[rows] - centre).sum(axis=1)
    text_spread = float(np.sqrt(squares.mean()))
    return (factors * (config.cooccurrence * text_spread / spread)).astype(np.float32)


def cooccurrences(histories: Histories, n_items: int, window: int) -> sparse.csr_matrix:
    """(N, N) symmetric float32: how often two different items lie at most `window` train events of a user apart."""
    is_train = histories.splits == Split.TRAIN.value
    users, items = histories.users()[is_train].astype(np.int32), histories.items[is_train]
    total = sparse.csr_matrix((n_items, n_items), dtype=np.float32)
    for distance in range(1, min(window, len(items) - 1) + 1):
        earlier, later = items[:-distance], items[distance:]
        pairs = (users[:-distance] == users[distance:]) & (earlier != later)
        ones = np.ones(int(pairs.sum()), dtype=np.float32)
        total = total + sparse.csr_matrix((ones, (earlier[pairs], later[pairs])), shape=total.shape)
    return sparse.csr_matrix(total + total.T)


def ppmi_factors(cooccurrence: sparse.csr_matrix, n_factors: int, seed: int) -> np.ndarray:
    """(N, F) left singular vectors times the square roots of the singular values, float64, of many items float32.

    F is at most N.

    Args:
        cooccurrence: (N, N) symmetric counts, some of them not 0.
        n_factors: the number of columns F, lowered to N.
        seed: of the randomized SVD.
    """
    n_items = cooccurrence.shape[0]
    precision = np.float64 if n_items <= _FLOAT64_AT_MOST else np.float32
    item_counts = np.asarray(cooccurrence.sum(axis=1, dtype=np.float64)).ravel()
    total, information = item_counts.sum(), np.empty(cooccurrence.nnz, dtype=precision)
    for rows in row_slices(n_items):
        starts = cooccurrence.indptr[rows.start : rows.stop + 1]
        entries = slice(starts[0], starts[-1])
        expected = np.repeat(item_counts[rows], np.diff(starts)) * item_counts[cooccurrence.indices[entries]]
        information[entries] = np.log(cooccurrence.data[entries].astype(np.float64) * total / expected)
    np.maximum(information, 0, out=information)
    ppmi = sparse.csr_matrix((information, cooccurrence.indices, cooccurrence.indptr), shape=cooccurrence.shape)
    left, values, _ = randomized_svd(ppmi, n_components=min(n_factors, n_items), random_state=seed)
    factors: np.ndarray = left * np.sqrt(values)
    return factors
