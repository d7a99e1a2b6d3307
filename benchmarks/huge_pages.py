"""What huge pages are worth to a training step, and why tsrec asks for them.

    python -m benchmarks.huge_pages

Times, in turns and in processes of their own, steps of the demo's SASRec and of two layers of SmolLM2's width, with
torch's large tensors in usual pages and in huge ones (`tsrec.machine.huge_pages`). Prints medians: seconds of a step,
and how many of them the system spent, over all threads.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks.busy_cores import mean_seconds, training_step

_STEPS = 12
_N_ITEMS = 1682  # the demo's


def sasrec_step() -> float:
    """Seconds of one step of the demo's SASRec: 128 windows of 50 events, scored against all items."""
    import torch

    from tsrec.config import SasRecConfig
    from tsrec.recommenders.sasrec import SasRec

    model = SasRec(_N_ITEMS, SasRecConfig())
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    items = torch.randint(1, _N_ITEMS + 1, (128, 50))
    positions, one = torch.arange(50).expand_as(items), torch.ones_like(items)

    def step() -> None:
        model(items, positions, one, items, one)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return mean_seconds(step, _STEPS)


def llm_step() -> float:
    """Seconds of one step of two layers of SmolLM2's width, with all threads."""
    return training_step(os.cpu_count() or 1)


STEPS: dict[str, Callable[[], float]] = {"SASRec": sasrec_step, "LLM": llm_step}


def _apart(name: str, huge: str) -> tuple[float, float]:
    """Seconds of a step, and the system's share of the time of all threads, in a process that reads `huge`."""
    code = (
        "import os; from benchmarks.huge_pages import STEPS; "
        f"step = STEPS[{name!r}](); spent = os.times(); print(step, spent.system / (spent.user + spent.system))"
    )
    environment = os.environ | {"THP_MEM_ALLOC_ENABLE": huge}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds, share = done.stdout.split()
    return float(seconds), float(share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    for name in STEPS:
        found: dict[str, list[tuple[float, float]]] = {"0": [], "1": []}
        for _ in range(arguments.repeats):
            for huge, readings in found.items():
                readings.append(_apart(name, huge))
        for huge, pages in (("0", "usual pages"), ("1", "huge pages")):
            seconds, shares = zip(*found[huge], strict=True)
            system = statistics.median(shares)
            print(f"{name}, {pages}: {statistics.median(seconds):.2f} s a step, {system:.0%} of it the system's")


if __name__ == "__main__":
    main()
