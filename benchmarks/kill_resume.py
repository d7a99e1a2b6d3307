"""Killed with SIGKILL at a random moment of every stage and run again: are metrics and recommendations the same bytes?

    python benchmarks/kill_resume.py --kills 10

Runs a small MovieLens profile once without interruption, then in a second store kills it once in each of its
stages in turn, at a random moment of that stage's known length, and starts it again; the last attempt is left to
finish. Compares the Parquet files of `fuse` and `evaluate`. Exits with status 1 when they differ.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tsrec.pipeline import STAGES

SMALL = [
    "backbone.n_layers=2",
    "finetune.epochs=1",
    "finetune.evals_per_epoch=4",
    "members.sasrec.epochs=3",
    "decode.shard_users=128",
    "keywords.shard_items=128",
]
STAGE_NAMES = [stage.name for stage in STAGES]
TABLES = ("metrics.parquet", "recommendations.parquet")


def start(store: Path, arguments: argparse.Namespace) -> subprocess.Popen[bytes]:
    settings = [f"store={store}", *SMALL, *arguments.set]
    command = [sys.executable, "-m", "flows.cli", "run", arguments.profile, "--no-prefect"]
    for setting in settings:
        command += ["--set", setting]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def hashes(store: Path) -> dict[str, str]:
    found = {path.name: path for path in store.glob("*/*/*/*.parquet") if not path.parent.suffix}
    return {name: hashlib.sha256(found[name].read_bytes()).hexdigest()[:16] for name in TABLES}


def stage_seconds(store: Path) -> dict[str, float]:
    """How long each stage took, in order of building."""
    manifests = [json.loads(path.read_text()) for path in store.glob("*/*/*/manifest.json")]
    ordered = sorted(manifests, key=lambda manifest: STAGE_NAMES.index(manifest["key"]["stage"]))
    return {manifest["key"]["stage"]: manifest["seconds"] for manifest in ordered}


def wait_until_building(store: Path, stage: str, process: subprocess.Popen[bytes]) -> bool:
    """True once the stage is being built; False where it is done already or the process has ended."""
    while process.poll() is None:
        if any(store.glob(f"*/{stage}/*/manifest.json")):
            return False
        if any(store.glob(f"*/{stage}/*.partial")):
            return True
        time.sleep(0.01)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="configs/demo.yaml")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        began = time.monotonic()
        if start(whole, arguments).wait() != 0:
            sys.exit("the uninterrupted run failed; run the profile by hand to see why")
        seconds = stage_seconds(whole)
        print(f"uninterrupted: {time.monotonic() - began:.0f} s {hashes(whole)}\n{seconds}", flush=True)
        kills = 0
        for stage in itertools.islice(itertools.cycle(seconds), arguments.kills):
            process = start(killed, arguments)
            if wait_until_building(killed, stage, process):
                time.sleep(moments.uniform(0, seconds[stage]))
                kills += 1
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            building = sorted(path.parent.name for path in killed.glob("*/*/*.partial"))
            done = sorted(path.parent.parent.name for path in killed.glob("*/*/*/manifest.json"))
            print(f"killed in {stage}: left half-built {building}, done {done}", flush=True)
        if start(killed, arguments).wait() != 0:
            sys.exit("the run after the kills failed")
        same = hashes(whole) == hashes(killed)
        print(f"after {kills} kills: {hashes(killed)}: {'identical' if same else 'DIFFERENT'}")
        sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
