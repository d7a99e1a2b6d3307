"""Search among many items: exact, as members do up to a million items, and by a graph, as they do above.

    python -m benchmarks.approximate_search --items 100000 300000 1000000

Vectors are generated: topics of about fifty items, with a spectrum that falls as that of text embeddings does. `texts`
have 384 dimensions and length 1, as text-similarity's; `sasrec` 64 dimensions and lengths that differ, as SASRec's. A
query is the sum of ten items' vectors of three topics by 1/recency. Prints a row for each way, in processor time on
one thread:

- seconds to build what is searched; `products` is another exact way, by torch in blocks of items, for comparison;
- ms a query, in a batch of 256 as candidates are made, and alone as a server asks (the median);
- recall@100: the share of the exact first hundred items that stand among its first hundred.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import faiss
import numpy as np
import torch

from tsrec.recommenders import item_search
from tsrec.recommenders.ranking import Filter
from tsrec.sid.vectors import unit_rows

T = TypeVar("T")
K = 100
BATCH, ALONE = 256, 20  # queries
BLOCK = 65_536  # items
HEAD = ("vectors", "items", "search", "build s", "ms, batch", "ms, alone", "recall@100")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--vectors", nargs="+", choices=["texts", "sasrec"], default=["texts", "sasrec"])
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    for kind in arguments.vectors:
        for n_items in arguments.items:
            compare(kind, n_items)


def compare(kind: str, n_items: int) -> None:
    """Print the rows of one catalogue."""
    vectors, topics = generated(n_items, kind)
    queries = queries_of(vectors, topics)
    exact, seconds = timed(lambda: item_search.open_index(vectors, Path("nowhere")))
    best, row = searched(exact, queries, n_items, None)
    print_row(kind, n_items, "exact", seconds, row)
    del exact
    print_row(kind, n_items, "products", 0, searched(vectors, queries, n_items, best)[1])
    with tempfile.TemporaryDirectory() as folder:
        _, seconds = timed(lambda: item_search.write_graph(vectors, Path(folder), exact_at_most=0))
        graph = item_search.open_index(vectors, Path(folder))
    print_row(kind, n_items, "graph", seconds, searched(graph, queries, n_items, best)[1])


def generated(n_items: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 vectors, and (N,) the topic of each."""
    random = np.random.default_rng(1)
    n_dimensions = 384 if kind == "texts" else 64
    spread = (1 / np.sqrt(1 + np.arange(n_dimensions))).astype(np.float32)
    topics = random.integers(max(1, n_items // 50), size=n_items)
    centres = random.standard_normal((topics.max() + 1, n_dimensions), dtype=np.float32) * spread
    vectors = random.standard_normal((n_items, n_dimensions), dtype=np.float32)
    vectors *= 0.7 * spread
    for start in range(0, n_items, 100_000):
        part = slice(start, start + 100_000)
        vectors[part] = unit_rows(vectors[part] + centres[topics[part]])
    if kind == "sasrec":
        vectors *= random.lognormal(sigma=0.3, size=(n_items, 1)).astype(np.float32)
    return vectors, topics


def queries_of(vectors: np.ndarray, topics: np.ndarray) -> np.ndarray:
    """(BATCH, D) sums of ten items' vectors, of three topics each, by 1/recency."""
    random = np.random.default_rng(2)
    of_topic = np.argsort(topics, kind="stable")
    starts = np.searchsorted(topics[of_topic], np.arange(topics.max() + 2))
    queries = np.zeros((BATCH, vectors.shape[1]), dtype=np.float32)
    for row in range(BATCH):
        liked = random.choice(np.flatnonzero(np.diff(starts)), 3)
        for recency in range(1, 11):
            topic = random.choice(liked)
            queries[row] += vectors[of_topic[random.integers(starts[topic], starts[topic + 1])]] / recency
    return queries


def searched(
    index: faiss.Index | np.ndarray, queries: np.ndarray, n_items: int, best: np.ndarray | None
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The lists, and ms a query in a batch and alone, and the recall against the `best` lists."""

    def found(rows: np.ndarray) -> np.ndarray:
        if isinstance(index, np.ndarray):
            return products(index, rows)
        return item_search.nearest_items(index, rows, K, Filter(n_items)).items

    items, seconds = timed(lambda: found(queries))
    alone = [timed(partial(found, query[None]))[1] for query in queries[:ALONE]]
    recall = np.mean(
        [len(np.intersect1d(*pair)) / K for pair in zip(items, items if best is None else best, strict=True)]
    )
    return items, (1000 * seconds / len(queries), 1000 * float(np.median(alone)), float(recall))


def products(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(B, K) the items of the largest products, block by block."""
    best, items = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(vectors), BLOCK):
        scores = torch.from_numpy(queries) @ torch.from_numpy(vectors[start : start + BLOCK]).T
        top = scores.topk(min(K, scores.shape[1]))
        items = torch.cat([items, start + top.indices], dim=1)
        best, kept = torch.cat([best, top.values], dim=1).topk(K)
        items = items.gather(1, kept)
    return items.numpy()


def timed(make: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and its processor seconds: other programs may run beside it."""
    started = time.process_time()
    made = make()
    return made, time.process_time() - started


def print_row(kind: str, n_items: int, way: str, seconds: float, row: tuple[float, float, float]) -> None:
    """One row of the table."""
    batch, alone, recall = row
    print(f"| {kind} | {n_items:,} | {way} | {seconds:.1f} | {batch:.2f} | {alone:.2f} | {recall:.3f} |", flush=True)


if __name__ == "__main__":
    main()
