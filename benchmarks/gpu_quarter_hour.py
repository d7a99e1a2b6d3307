"""Tests and measures a GPU in a quarter of an hour, the most important things first. Keeps all results.

    python -m benchmarks.gpu_quarter_hour --out gpu --minutes 12 --set ingest.path=FOLDER

1. The tests of training, RL and decoding, on the GPU.
2. Tokens per second of a training step with all 30 layers, and lists per second of 20 beams.
3. `configs/ablations/whole-llm.yaml`: all 30 layers of the LLM, with SA-Init and TS-Align, with SA-Init alone, with
   neither; one seed after the other. What the time limit stops continues at the next call.

Every step writes its output to its own file in `--out`. `summary.md` says how each step ended. First build on a
processor what needs no GPU (keywords, embeddings, SIDs), and name that store by `--set store=FOLDER`.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

GRID = "configs/ablations/whole-llm.yaml"
GPU_TESTS = ("tests/finetune", "tests/training", "tests/decode")
MOST_MINUTES = 3.0  # of each of the first two steps
SECONDS_TO_SAVE = 10  # from SIGTERM to SIGKILL


def commands(out: Path, overrides: list[str], seeds: list[int], device: str) -> list[tuple[str, float, list[str]]]:
    """Name, the most minutes, and arguments of `python` of every step, in order."""
    settings = [word for override in overrides for word in ("--set", override)]
    steps = [
        ("tests", MOST_MINUTES, ["-m", "pytest", "-q", "-n", str(min(12, os.cpu_count() or 1)), *GPU_TESTS]),
        ("training-step", MOST_MINUTES, ["-m", "benchmarks.training_step", "--layers", "30", "--device", device]),
        ("decode-speed", MOST_MINUTES, ["-m", "benchmarks.decode_speed", "--layers", "30", "--device", device]),
    ]
    for seed in seeds:
        grid = ["ablation", GRID, "--no-prefect", "--seeds", str(seed), "--out", str(out / f"whole-llm-{seed}")]
        run = ["-m", "flows.cli", *grid, "--set", f"device={device}", *settings]
        steps.append((f"whole-llm-{seed}", float("inf"), run))
    return steps


def run_step(arguments: list[str], log: Path, seconds: float) -> str:
    """Run one step for at most `seconds`, write its output to `log`, and return how it ended."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)  # its workers too
            try:
                process.wait(timeout=SECONDS_TO_SAVE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            return "cut short"
    return "done" if code == 0 else f"exit status {code}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the output")
    parser.add_argument("--minutes", type=float, default=12.0, help="for everything together")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--device", default="cuda", help="cpu tries the script itself where there is no GPU")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="of the grid's runs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    summary = arguments.out / "summary.md"
    summary.write_text("| step | how it ended | seconds |\n|---|---|---|\n")
    ends = time.monotonic() + 60 * arguments.minutes
    for name, minutes, step in commands(arguments.out, arguments.set, arguments.seeds, arguments.device):
        began = time.monotonic()
        seconds = min(60 * minutes, ends - began)
        ended = run_step(step, arguments.out / f"{name}.log", seconds) if seconds > SECONDS_TO_SAVE else "not begun"
        with summary.open("a") as file:
            file.write(f"| {name} | {ended} | {time.monotonic() - began:.0f} |\n")
        print(f"{name}: {ended}", flush=True)


if __name__ == "__main__":
    main()
