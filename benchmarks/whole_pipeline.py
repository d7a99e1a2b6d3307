"""Time and peak memory of every stage, from raw files to the report, over the size of the catalogue and the log.

    python -m benchmarks.whole_pipeline configs/million.yaml --items 10000 100000 1000000

Generates catalogues of so many items, as many users and twenty times as many events. Then builds each stage in a
process of its own. Prints seconds, processor seconds and peak resident memory, and how these grow: 1 is in proportion
to the items. A call with the same `--folder` goes on where an earlier one was stopped, and reads its figures again.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tsrec.config import Config, load_config
from tsrec.data.synthetic import generate
from tsrec.pipeline import build, check
from tsrec.pipeline.planning import PlannedStage
from tsrec.store import Artifact, ArtifactStore

EVENTS_AN_ITEM = 20
GIB = 2**20  # KiB, as wait4 counts


def settings(arguments: argparse.Namespace, n_items: int) -> Config:
    folder = arguments.folder / str(n_items)
    own = [f"ingest.path={folder / 'raw'}", f"store={folder / 'store'}"]
    return load_config(arguments.profile, [*own, *arguments.set])


def measure(arguments: argparse.Namespace, n_items: int, stage: str) -> dict[str, float]:
    """Build one stage in a process of its own: its seconds, processor seconds and peak, in GiB."""
    own = [f"--set={setting}" for setting in arguments.set]
    command = [sys.executable, "-m", "benchmarks.whole_pipeline", str(arguments.profile), *own]
    command += ["--folder", str(arguments.folder), "--items", str(n_items), "--stage", stage]
    began = time.monotonic()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{n_items:,} items: {stage} failed with {os.waitstatus_to_exitcode(status)}")
    processor = usage.ru_utime + usage.ru_stime
    return {"s": time.monotonic() - began, "cpu_s": processor, "gib": usage.ru_maxrss / GIB}


def build_one(config: Config, name: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    store, stages = ArtifactStore(config.store), check(config)
    build(stages[name], store, {parent: _found(stages[parent], store) for parent in stages[name].parents.values()})


def _found(planned: PlannedStage, store: ArtifactStore) -> Artifact:
    artifact = planned.found_in(store)
    assert artifact is not None, f"{planned.name} is built before"
    return artifact


def figures_of(arguments: argparse.Namespace, n_items: int) -> dict[str, dict[str, float]]:
    """Stage -> figures; those of stages that a stopped call has built are read from the folder."""
    folder = arguments.folder / str(n_items)
    if not (folder / "raw" / "interactions.parquet").exists():
        generate(folder / "raw", n_items, n_items, EVENTS_AN_ITEM * n_items)
    kept = folder / "figures.json"
    figures = json.loads(kept.read_text()) if kept.exists() else {}
    config = settings(arguments, n_items)
    store = ArtifactStore(config.store)
    for name, planned in check(config).items():
        if arguments.only and name not in arguments.only:
            continue
        if name not in figures or planned.found_in(store) is None:
            figures[name] = measure(arguments, n_items, name)
            kept.write_text(json.dumps(figures))
        row = figures[name]
        print(f"{n_items:9,d} {name:16s} {row['s']:8.1f} s {row['cpu_s']:8.1f} cpu {row['gib']:6.2f} GiB", flush=True)
    return figures


def print_growth(sizes: list[int], by_size: list[dict[str, dict[str, float]]]) -> None:
    print("\nlog-log slopes from size to size: processor seconds; peak")
    steps = np.diff(np.log(sizes))
    for name in by_size[-1]:
        if all(name in figures for figures in by_size):
            rows = [figures[name] for figures in by_size]
            cpu, gib = (np.diff(np.log([row[key] for row in rows])) / steps for key in ("cpu_s", "gib"))
            print(f"{name:16s} {', '.join(f'{slope:.2f}' for slope in cpu)}; {', '.join(f'{x:.2f}' for x in gib)}")
    for size, figures in zip(sizes, by_size, strict=True):
        total, peak = sum(row["cpu_s"] for row in figures.values()), max(row["gib"] for row in figures.values())
        print(f"{size:,} items: {total / 60:.1f} minutes of processor time, peak {peak:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", type=Path, help="a YAML profile with ingest.source=tables")
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=Path("whole-pipeline"), help="for data, artifacts and figures")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="only these stages, which have all that they need")
    parser.add_argument("--stage", help=argparse.SUPPRESS)  # what is measured, in a process of its own
    arguments = parser.parse_args()
    if arguments.stage:
        build_one(settings(arguments, arguments.items[0]), arguments.stage)
        return
    by_size = [figures_of(arguments, n_items) for n_items in arguments.items]
    print_growth(arguments.items, by_size)


if __name__ == "__main__":
    main()
