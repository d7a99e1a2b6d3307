"""Co-occurrence factors: which items are bought together, as further dimensions of an item's text embedding.

They are a truncated SVD of the positive pointwise mutual information (Levy and Goldberg, NeurIPS 2014) of items that
lie near one another in users' histories. Only `train` events are read.
"""

import logging

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import SidsConfig
from tsrec.sids.quantization import row_slices

_WINDOW = 5  # two train events of a user co-occur if they are at most so many events apart
_N_FACTORS = 64  # numbers per item that co-occurrence is reduced to

logger = logging.getLogger(__name__)


def cooccurrence_factors(
    embeddings: np.ndarray, interactions: pd.DataFrame, item_ids: list[str], config: SidsConfig
) -> np.ndarray:
    """(N, F) float32 co-occurrence factors, to be appended to (N, D) `embeddings`.

    The factors are centred. Their root mean square length is `config.cooccurrence` times that of the embeddings, over
    the items that co-occur with any other. All other items get zeros, the mean: so the SID of an item without train
    events, or one that came after the quantizer was made, depends on its text alone. Where no items co-occur, all
    factors are 0, and a warning is logged.
    """
    counts = cooccurrences(interactions, item_ids, _WINDOW)
    known = counts.getnnz(axis=1) > 0
    factors = np.zeros((len(item_ids), min(_N_FACTORS, len(item_ids))))
    if known.any():
        factors = ppmi_factors(counts, _N_FACTORS, config.seed)
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


def cooccurrences(interactions: pd.DataFrame, item_ids: list[str], window: int) -> sparse.csr_matrix:
    """(N, N) symmetric: how often two different items lie at most `window` train events of a user apart."""
    train = interactions[interactions[C.SPLIT] == Split.TRAIN.value].sort_values([C.USER, C.POSITION], kind="stable")
    users = train[C.USER].to_numpy(dtype=object)
    items = pd.Index(item_ids).get_indexer(train[C.ITEM])
    total = sparse.csr_matrix((len(item_ids), len(item_ids)))
    for distance in range(1, min(window, len(items) - 1) + 1):
        earlier, later = items[:-distance], items[distance:]
        pairs = (users[:-distance] == users[distance:]) & (earlier != later)
        ones = np.ones(int(pairs.sum()))
        total = total + sparse.csr_matrix((ones, (earlier[pairs], later[pairs])), shape=total.shape)
    return sparse.csr_matrix(total + total.T)


def ppmi_factors(cooccurrence: sparse.csr_matrix, n_factors: int, seed: int) -> np.ndarray:
    """(N, F) float64: left singular vectors times the square roots of the singular values; F is at most N.

    Args:
        cooccurrence: (N, N) symmetric counts, some of them not 0.
        n_factors: the number of columns F, lowered to N.
        seed: of the randomized SVD.
    """
    counts = cooccurrence.tocoo()
    item_counts = np.asarray(cooccurrence.sum(axis=1)).ravel()
    information = np.log(counts.data * item_counts.sum() / (item_counts[counts.row] * item_counts[counts.col]))
    ppmi = sparse.csr_matrix((np.maximum(information, 0), (counts.row, counts.col)), shape=cooccurrence.shape)
    left, values, _ = randomized_svd(ppmi, n_components=min(n_factors, cooccurrence.shape[0]), random_state=seed)
    factors: np.ndarray = left * np.sqrt(values)
    return factors
