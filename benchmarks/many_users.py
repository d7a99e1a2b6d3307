"""Memory and time of the `fuse` and `evaluate` stages over the number of users, each stage in a process of its own.

    python -m benchmarks.many_users --users 5000 50000 200000

Generates a catalogue, histories of 3 to 12 events, and each member's list of 200 items for each target of valid and
test. Some members' lists hold more targets than others'. Prints processor seconds, and peak resident memory in MB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsrec.columns import LLM, Split
from tsrec.columns import Columns as C
from tsrec.config import EvaluateConfig, FuseConfig, RecommendConfig
from tsrec.evaluate.settings import EvaluateSettings
from tsrec.evaluate.stage import run as evaluate
from tsrec.recommenders.candidates import BlockWriter, lists_to_table
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import run as fuse
from tsrec.recommenders.ranking import Ranked
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.store import Artifact, ArtifactKey, ArtifactStore, ArtifactWriter

N_ITEMS, LENGTH, BLOCK = 12_007, 200, 4096
KNOWS = {LLM: 0.3, "item-knn": 0.35, "popular": 0.1, "sasrec": 0.4, "text-similarity": 0.25, "transitions": 0.3}
"""Member -> in what share of the lists the target is."""
RULES = RecommendConfig(n_candidates=LENGTH)


def build(folder: Path, name: str, make: object) -> Artifact:
    key = ArtifactKey.from_inputs("invented", name.partition(":")[0], 1, {}, {})
    return ArtifactStore(folder).build(key, make)  # type: ignore[arg-type]


def opened(folder: Path) -> dict[str, Artifact]:
    return {artifact.manifest.key.stage: artifact for artifact in ArtifactStore(folder).list()}


def write_events(out: ArtifactWriter, n_users: int) -> None:
    random = np.random.default_rng(1)
    out.write_table("items", pa.table({C.ITEM: [f"B{item:09d}" for item in range(N_ITEMS)]}))
    lengths = random.integers(3, 13, n_users)
    users, ends = np.repeat(np.arange(n_users), lengths), np.repeat(np.cumsum(lengths), lengths)
    to_end = ends - np.arange(len(users))
    splits = np.select([to_end == 1, to_end == 2], [Split.TEST.value, Split.VALID.value], Split.TRAIN.value)
    items = (N_ITEMS * random.random(len(users)) ** 2).astype(np.int64)
    positions = np.arange(len(users)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    table = {
        C.USER: pa.array([f"A{user:013d}" for user in range(n_users)]).take(pa.array(users)),
        C.ITEM: pa.array([f"B{item:09d}" for item in range(N_ITEMS)]).take(pa.array(items)),
        C.TIMESTAMP: pa.array(1_600_000_000 + 100 * np.arange(len(users))),
        C.POSITION: pa.array(positions.astype(np.int32)),
        C.SPLIT: pa.array(splits),
    }
    out.write_table("interactions", pa.table(table))


def write_lists(out: ArtifactWriter, targets: Targets, members: list[str]) -> None:
    """Lists of items near one that the user's taste begins at, so that members propose much the same, as real ones."""
    for number, name in enumerate(members):
        random = np.random.default_rng([2, number])
        with closing(BlockWriter(out, name)) as table:
            for start in range(0, len(targets.events), BLOCK):
                block = targets.take(np.arange(start, min(start + BLOCK, len(targets.events))))
                table.write(lists_of(block, KNOWS[name], random))


def lists_of(targets: Targets, knows: float, random: np.random.Generator) -> pa.Table:
    own = targets.items
    order = random.permuted(np.tile(np.arange(2 * LENGTH), (len(own), 1)), axis=1)[:, :LENGTH]
    items = ((targets.users * 7919)[:, None] + order) % N_ITEMS
    place = np.minimum(random.exponential(20, len(own)).astype(np.int64), LENGTH - 1)
    chosen = (random.random(len(own)) < knows) & ~(items == own[:, None]).any(axis=1)
    items[chosen, place[chosen]] = own[chosen]
    scores = np.cumsum(-random.exponential(0.1, items.shape), axis=1)
    return lists_to_table(Ranked(items.astype(np.int32), scores.astype(np.float32)), targets)


def measure(folder: Path, stage: str, n_users: int) -> None:
    began = time.process_time()
    if stage == "ingest":
        build(folder, stage, lambda out: write_events(out, n_users))
    elif stage == "lists":
        _, histories = read_catalogue(opened(folder)["ingest"])
        targets = select_targets(histories, RULES)
        build(folder, "decode", lambda out: write_lists(out, targets, [LLM]))
        build(folder, "candidates", lambda out: write_lists(out, targets, [name for name in KNOWS if name != LLM]))
    elif stage == "fuse":
        settings = FuseSettings(own=FuseConfig(), rules=RULES)
        build(folder, stage, lambda out: fuse(settings, opened(folder), out).write())
    else:
        evaluated = EvaluateSettings(own=EvaluateConfig(baseline="transitions"), rules=RULES)
        build(folder, stage, lambda out: evaluate(evaluated, opened(folder), out))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"stage": stage, "users": n_users, "cpu_s": round(time.process_time() - began, 1), "MB": peak_mb}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[5_000, 50_000, 200_000])
    parser.add_argument("--stage", nargs=2, metavar=("STAGE", "FOLDER"), help=argparse.SUPPRESS)  # what is measured
    arguments = parser.parse_args()
    if arguments.stage:
        measure(Path(arguments.stage[1]), arguments.stage[0], arguments.users[0])
        return
    for n_users in arguments.users:
        with tempfile.TemporaryDirectory() as folder:
            for stage in ("ingest", "lists", "fuse", "evaluate"):
                command = [sys.executable, "-m", "benchmarks.many_users", "--users", str(n_users)]
                found = subprocess.run([*command, "--stage", stage, folder], check=True, stdout=subprocess.PIPE).stdout
                print(found.decode().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
