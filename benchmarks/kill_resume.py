"""Killed with SIGKILL at random moments and run again: are metrics and recommendations the same bytes?

    python benchmarks/kill_resume.py --kills 10

Runs a small MovieLens profile once without interruption, then in a second store kills it again and again at random
moments, spread over the length of the first run, until the last attempt is left to finish. Compares the Parquet
files of `evaluate`. Exits with status 1 when they differ.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = [
    "backbone.n_layers=2",
    "finetune.epochs=1",
    "finetune.evals_per_epoch=4",
    "baselines.sasrec_epochs=3",
    "evaluate.shard_users=128",
    "keywords.shard_items=128",
]
TABLES = ("metrics.parquet", "recommendations.parquet")


def start(store: Path, arguments: argparse.Namespace) -> subprocess.Popen[bytes]:
    settings = [f"store={store}", *SMALL, *arguments.set]
    command = [sys.executable, "-m", "flows.cli", "run", arguments.profile, "--no-prefect"]
    for setting in settings:
        command += ["--set", setting]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def hashes(store: Path) -> dict[str, str]:
    found = {path.name: path for path in store.glob("*/evaluate/*/*.parquet") if not path.parent.suffix}
    return {name: hashlib.sha256(found[name].read_bytes()).hexdigest()[:16] for name in TABLES}


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
        seconds = time.monotonic() - began
        print(f"uninterrupted: {seconds:.0f} s {hashes(whole)}", flush=True)
        kills = 0
        while kills < arguments.kills:
            process = start(killed, arguments)
            try:  # later attempts find more done: the moments move through all stages
                process.wait(timeout=6 + moments.uniform(0, 2 * seconds / arguments.kills))
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                building = sorted(path.parent.name for path in killed.glob("*/*/*.partial"))
                done = sorted(path.parent.parent.name for path in killed.glob("*/*/*/manifest.json"))
                print(f"kill {kills}: building {building}, done {len(done)}", flush=True)
        if start(killed, arguments).wait() != 0:
            sys.exit("the run after the kills failed")
        same = hashes(whole) == hashes(killed)
        print(f"after {kills} kills: {hashes(killed)}: {'identical' if same else 'DIFFERENT'}")
        sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
