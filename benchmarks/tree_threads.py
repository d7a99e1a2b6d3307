"""What LightGBM's threads are worth while other work keeps the cores busy, as on a shared machine.

    GOMP_SPINCOUNT=1000 python -m benchmarks.tree_threads --rows 2000 300000 --busy 3   # as tsrec has them wait

Fits 20 trees, set as those of the fusion, on random rows (N, 20) with one thread and with all, alone and beside
processes that never rest; prints seconds, and whether the trees are the same. It is why `tsrec.recommenders.trees`
takes one thread.
"""

import argparse
import os
import time

import lightgbm
import numpy as np
import torch  # noqa: F401  # brings the OpenMP runtime that LightGBM asks the system for

from benchmarks.busy_cores import busy
from tsrec.recommenders.trees import SETTINGS


def fit(features: np.ndarray, right: np.ndarray, n_threads: int) -> tuple[float, str]:
    """Seconds that 20 trees took, and the trees."""
    started = time.perf_counter()
    booster = lightgbm.train(SETTINGS | {"num_threads": n_threads}, lightgbm.Dataset(features, right), 20)
    return time.perf_counter() - started, booster.model_to_string().partition("parameters:")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000, 300_000])
    parser.add_argument("--busy", type=int, default=3, help="processes that never rest")
    arguments, all_cores = parser.parse_args(), os.cpu_count() or 1
    for n_rows in arguments.rows:
        features = np.random.default_rng(1).normal(size=(n_rows, 20))
        right = (features[:, 0] + features[:, 1] * features[:, 2] > 2).astype(np.float32)
        alone = [fit(features, right, n) for n in (1, all_cores)]
        with busy(arguments.busy):
            beside = [fit(features, right, n) for n in (1, all_cores)]
        same = len({trees for _, trees in alone + beside}) == 1
        for name, ((one, _), (every, _)) in (("alone", alone), (f"beside {arguments.busy} busy", beside)):
            print(
                f"{n_rows:,} rows, {name}: 1 thread {one:.2f} s, {all_cores} threads {every:.2f} s; same trees: {same}"
            )


if __name__ == "__main__":
    main()
