"""The neighbours of every item, of which one may stand in its place in a history.

Knows the artifacts that hold them: the cosines of the member item-knn, or the text embeddings.
"""

import faiss
import numpy as np

from tsrec.columns import Columns as C
from tsrec.config import AugmentConfig
from tsrec.stage import Parents
from tsrec.store.sparse_file import load_sparse

NO_ITEM = -1


def source_of(config: AugmentConfig) -> str:
    """The stage that knows the neighbours."""
    return {"users": "item-knn", "texts": "embed"}[config.neighbours_by]


def read_neighbours(parents: Parents, config: AugmentConfig) -> np.ndarray:
    """(n_items, K) int32 the nearest neighbours of every item, itself aside, nearest first, `NO_ITEM` behind the last;
    K is at most `config.neighbours`."""
    source = parents[source_of(config)]
    if config.neighbours_by == "texts":
        return nearest_texts(source.matrix("item_embeddings", C.EMBEDDING), config.neighbours)
    similar = load_sparse(source.file("neighbours.safetensors"))
    items = np.repeat(np.arange(similar.shape[0]), np.diff(similar.indptr))
    order = np.lexsort((similar.indices, -similar.data, items))
    place = np.arange(len(order)) - similar.indptr[items]
    nearest = np.full((similar.shape[0], config.neighbours), NO_ITEM, dtype=np.int32)
    kept = place < config.neighbours
    nearest[items[kept], place[kept]] = similar.indices[order[kept]]
    return nearest


def nearest_texts(embeddings: np.ndarray, n_neighbours: int) -> np.ndarray:
    """(N, K) int32 the items whose embeddings (N, D) have the largest cosine with each, itself aside."""
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    faiss.normalize_L2(vectors)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    n_items = len(vectors)
    found = index.search(vectors, min(n_neighbours + 1, n_items))[1]
    itself = found == np.arange(n_items)[:, None]
    itself[~itself.any(axis=1), -1] = True  # beyond the last, where others have the very same vector
    return found[~itself].reshape(n_items, -1).astype(np.int32)
