"""What is bought together, as numbers beside an item's text embedding: a truncated SVD of the positive pointwise mutual
information (Levy and Goldberg, NeurIPS 2014) of items that lie near one another in users' histories.

Reads events of `train` and no others.
"""

import logging

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import SidsConfig

_WINDOW = 5  # train events of a user that are at most so far apart count as together
_N_FACTORS = 64  # numbers per item that co-occurrence is reduced to

logger = logging.getLogger(__name__)


def cooccurrence_factors(
    embeddings: np.ndarray, interactions: pd.DataFrame, item_ids: list[str], config: SidsConfig
) -> np.ndarray:
    """(N, F) float32 to stand beside (N, D) `embeddings`, scaled so that items spread `config.cooccurrence` times as
    far in them, in the root mean square of the items that have any.

    Zeros are the mean of those items: so an item of which nothing is known stands in their middle, whether it has no
    event in `train` or came after the quantizer was made, and its text decides. Where nothing tells any two items
    apart, all of them do: that is said, and nothing is lost.
    """
    together = cooccurrences(interactions, item_ids, _WINDOW)
    known = together.getnnz(axis=1) > 0
    factors = np.zeros((len(item_ids), min(_N_FACTORS, len(item_ids))))
    if known.any():
        factors = ppmi_factors(together, _N_FACTORS, config.seed)
        factors = np.where(known[:, None], factors - factors[known].mean(axis=0), 0)
    spread = float(np.sqrt(np.square(factors[known]).sum(axis=1).mean())) if known.any() else 0.0
    if not spread:
        logger.warning("sids.cooccurrence: nothing of train is bought together; SIDs are those of the texts alone")
        return np.zeros_like(factors, dtype=np.float32)
    of_texts = float(np.sqrt(np.square(embeddings - embeddings.mean(axis=0)).sum(axis=1).mean()))
    return (factors * (config.cooccurrence * of_texts / spread)).astype(np.float32)


def cooccurrences(interactions: pd.DataFrame, item_ids: list[str], window: int) -> sparse.csr_matrix:
    """(N, N) symmetric: how often two different items lie at most `window` train events of a user apart."""
    train = interactions[interactions[C.SPLIT] == Split.TRAIN.value].sort_values([C.USER, C.POSITION], kind="stable")
    users = train[C.USER].to_numpy(dtype=object)
    items = pd.Index(item_ids).get_indexer(train[C.ITEM])
    total = sparse.csr_matrix((len(item_ids), len(item_ids)))
    for apart in range(1, min(window, len(items) - 1) + 1):
        earlier, later = items[:-apart], items[apart:]
        pairs = (users[:-apart] == users[apart:]) & (earlier != later)
        ones = np.ones(int(pairs.sum()))
        total = total + sparse.csr_matrix((ones, (earlier[pairs], later[pairs])), shape=total.shape)
    return sparse.csr_matrix(total + total.T)


def ppmi_factors(together: sparse.csr_matrix, n_factors: int, seed: int) -> np.ndarray:
    """(N, F) float64: left singular vectors times the roots of their values; F is less than asked for of few items.

    Args:
        together: (N, N) symmetric counts, some of them not 0.
        n_factors: the most columns.
        seed: of the randomized SVD.
    """
    counts = together.tocoo()
    of_item = np.asarray(together.sum(axis=1)).ravel()
    information = np.log(counts.data * of_item.sum() / (of_item[counts.row] * of_item[counts.col]))
    ppmi = sparse.csr_matrix((np.maximum(information, 0), (counts.row, counts.col)), shape=together.shape)
    left, values, _ = randomized_svd(ppmi, n_components=min(n_factors, together.shape[0]), random_state=seed)
    factors: np.ndarray = left * np.sqrt(values)
    return factors
