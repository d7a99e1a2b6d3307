"""The items whose vectors have the largest inner product with a query. Knows vectors and filters, nothing of members.

Up to a million items the search is exact: every query meets every vector. In a larger catalogue it walks a graph of
near vectors (HNSW, arXiv 1603.09320) and meets some thousands. Of the exact first hundred items that finds 98 on
average (100,000 generated items of 384 dimensions and as many of 64); `benchmarks/approximate_search.py` measures it.
"""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from safetensors.numpy import load_file, save_file

from tsrec.recommenders.ranking import Filter, Ranked, empty_lists, first_kept

# At 100,000 items of 384 dimensions, an exact search takes 7.5 ms of a processor for each query, and grows with the
# items. By the graph it takes 1.3 ms. One thread builds the graph, there in half a minute. Larger: not measured.
_EXACT_AT_MOST = 1_000_000
_FILE = "item_graph.safetensors"
_NEIGHBOURS = 32  # of each vector in the graph; with 16, SASRec's vectors lose 17 of 100 items
_TRIED_TO_BUILD = 40  # candidates for the neighbours of a vector; faiss's own
_TRIED = 256  # candidates that a search keeps; at 128, it loses 5 of 100 items
_ALLOWED_SHARE = 0.1  # where fewer of the items are allowed, the graph would lead past most of them


def write_graph(vectors: np.ndarray, folder: Path, exact_at_most: int = _EXACT_AT_MOST) -> None:
    """Write the graph of (N, D) float32 vectors; for `exact_at_most` items and fewer nothing.

    It is built with one thread, so that the same vectors give the same graph.
    """
    if len(vectors) <= exact_at_most:
        return
    index = _empty_graph(vectors.shape[1])
    n_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.add(np.ascontiguousarray(vectors))
    finally:
        faiss.omp_set_num_threads(n_threads)
    parts = {name: faiss.vector_to_array(getattr(index.hnsw, name)) for name in ("levels", "offsets", "neighbors")}
    save_file({**parts, "entry": np.array([index.hnsw.entry_point, index.hnsw.max_level])}, folder / _FILE)


def open_index(vectors: np.ndarray, folder: Path) -> faiss.Index:
    """An index of (N, D) float32 vectors: with the graph, where `write_graph` wrote one, else exact."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if not (folder / _FILE).exists():
        exact = faiss.IndexFlatIP(vectors.shape[1])
        exact.add(vectors)
        return exact
    index = _empty_graph(vectors.shape[1])
    graph = load_file(folder / _FILE)
    for name in ("levels", "offsets", "neighbors"):
        faiss.copy_array_to_vector(graph[name], getattr(index.hnsw, name))
    index.hnsw.entry_point, index.hnsw.max_level = graph["entry"].tolist()
    index.storage.add(vectors)
    index.ntotal = len(vectors)
    return index


def vectors_of(index: faiss.Index) -> np.ndarray:
    """(N, D) float32: the vectors that an index holds, not copied, so that they are there as long as it is."""
    flat: Any = faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index
    vectors: np.ndarray = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    return vectors.reshape(flat.ntotal, flat.d)


def nearest_items(index: faiss.Index, queries: np.ndarray, k: int, allow: Filter) -> Ranked:
    """The `k` items with the largest inner product that `index` finds; `queries` is (B, D) float32."""
    n_neighbours = min(k + allow.max_blocked(), allow.n_items)
    chosen: dict[str, Any] = {}
    if allow.allowed is not None:
        n_allowed = int(allow.allowed.sum())
        n_neighbours = min(n_neighbours, n_allowed)
        bits: Any = np.packbits(allow.allowed, bitorder="little")
        chosen["sel"] = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg]  # its stubs lack it
        if isinstance(index, faiss.IndexHNSW) and n_allowed < _ALLOWED_SHARE * allow.n_items:
            index = faiss.downcast_index(index.storage)
    if not n_neighbours:
        return empty_lists(len(queries), k)
    if isinstance(index, faiss.IndexHNSW):
        n_tried = max(_TRIED, 2 * n_neighbours)
        parameters = faiss.SearchParametersHNSW(efSearch=n_tried, **chosen)  # type: ignore[attr-defined]
    else:
        parameters = faiss.SearchParameters(**chosen) if chosen else None
    scores, items = index.search(np.ascontiguousarray(queries, dtype=np.float32), n_neighbours, params=parameters)
    rows = np.arange(len(queries), dtype=np.int64)[:, None]
    return first_kept(items, scores, allow.keeps(rows, items), k)


def _empty_graph(n_dimensions: int) -> faiss.IndexHNSWFlat:
    index = faiss.IndexHNSWFlat(n_dimensions, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _TRIED_TO_BUILD
    return index
