"""Memory and time of the ingest stage on generated interactions.

    python benchmarks/ingest_scale.py --rows 10000000

Writes `items.csv` and `interactions.csv` to a temporary folder, runs the stage in a process of its own, and prints
one JSON line: rows, seconds by the clock and of the processor, peak resident memory in GiB. The promise: ten million
interactions within 4 GiB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tsrec import pipeline
from tsrec.config import Config, IngestConfig
from tsrec.store import ArtifactStore

_BATCH = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="interactions to generate")
    parser.add_argument("--ingest", type=Path, help=argparse.SUPPRESS)  # the process that is measured
    arguments = parser.parse_args()
    if arguments.ingest:
        measure(arguments.ingest)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), arguments.rows)
        command = [sys.executable, __file__, "--ingest", folder]
        print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout, end="")


def generate(folder: Path, rows: int) -> None:
    """A tenth as many users as rows, a hundredth as many items; both skewed, ids as long as Amazon's."""
    random = np.random.default_rng(1)
    n_users, n_items = max(rows // 10, 1), max(rows // 100, 1)
    items = pd.DataFrame({"item_id": [f"B{item:09d}" for item in range(n_items)]})
    items["title"] = "Generated item " + items["item_id"]
    items.to_csv(folder / "items.csv", index=False)
    for start in range(0, rows, _BATCH):
        size = min(_BATCH, rows - start)
        users = (n_users * random.random(size) ** 2).astype(np.int64)
        batch = pd.DataFrame(
            {
                "user_id": "A" + pd.Series(users).astype(str).str.zfill(13),
                "item_id": "B"
                + pd.Series((n_items * random.random(size) ** 3).astype(np.int64)).astype(str).str.zfill(9),
                "timestamp": random.integers(1_000_000_000, 1_700_000_000, size),
            }
        )
        batch.to_csv(folder / "interactions.csv", index=False, mode="a", header=start == 0)


def measure(folder: Path) -> None:
    """Run the stage on `folder` and print what it took."""
    config = IngestConfig(source="tables", path=str(folder), min_user_events=2, min_item_events=2)
    planned = pipeline.plan(Config(dataset="generated", ingest=config))["ingest"]
    started = time.monotonic()
    artifact = pipeline.build(planned, ArtifactStore(folder / "store"), {})
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "rows": artifact.counts["n_interactions_read"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_gib": round(used.ru_maxrss / 2**20, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
