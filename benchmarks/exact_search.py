"""Exact search by blocks of matrix products beside faiss's exact search, in turns, on random vectors.

    python -m benchmarks.exact_search --items 10000 100000 1000000

Prints milliseconds of one processor for each query, the median of some rounds, in batches of 256 queries and one by
one, and how many of the items that faiss finds are found.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from tsrec.recommenders.exact_search import ExactSearch

K = 220  # a list of 200 items, and some that the history holds


def milliseconds(search: Callable[[np.ndarray, int], object], queries: np.ndarray) -> float:
    start = time.process_time()
    search(queries, K)
    return (time.process_time() - start) / len(queries) * 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    random = np.random.default_rng(1)
    faiss.omp_set_num_threads(1)
    print("| items | queries at once | faiss, ms | blocks, ms | times as fast | found |\n|---|---|---|---|---|---|")
    for n_items in args.items:
        ours = ExactSearch(random.standard_normal((n_items, args.dimensions), dtype=np.float32))
        plain = faiss.IndexFlatIP(args.dimensions)
        plain.add(ours.vectors)
        for n_queries in (1, 256):
            queries = random.standard_normal((n_queries, args.dimensions), dtype=np.float32)
            times: list[list[float]] = [[], []]
            with threadpool_limits(1):
                for _ in range(args.rounds):
                    times[0].append(milliseconds(plain.search, queries))
                    times[1].append(milliseconds(ours.search, queries))
                theirs, found = plain.search(queries, K)[1], ours.search(queries, K)[1]
            same = np.mean([len(np.intersect1d(*pair)) / K for pair in zip(theirs, found, strict=True)])
            before, now = map(statistics.median, times)
            print(
                f"| {n_items} | {n_queries} | {before:.2f} | {now:.2f} | {before / now:.1f} | {same:.4f} |", flush=True
            )


if __name__ == "__main__":
    main()
