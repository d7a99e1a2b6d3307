"""What threads are worth while other work keeps a core busy, as on a shared machine, and why tsrec sets how they wait.

    python -m benchmarks.busy_cores --busy 1

Times, in turns, alone and beside processes that never rest: steps that train two layers of SmolLM2's width, with one
thread and with all, which wait as libgomp has them wait or as `tsrec.machine.threads.spin_briefly` has; and what the
fusion and SASRec ask of NumPy, a product of tall matrices and a decomposition, with all threads of its BLAS and under
`one_blas_thread`. Prints medians in seconds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context

import numpy as np

from tsrec.machine.threads import one_blas_thread

_STEPS = 5
_LIBGOMP = "300000"  # GOMP_SPINCOUNT where nothing is said


@contextmanager
def busy(n_processes: int) -> Iterator[None]:
    """Processes that never rest."""
    others = [get_context("spawn").Process(target=_never_rest, daemon=True) for _ in range(n_processes)]
    for other in others:
        other.start()
    try:
        time.sleep(3)
        yield
    finally:
        for other in others:
            other.kill()


def _never_rest() -> None:
    while True:
        pass


def training_step(n_threads: int) -> float:
    """Seconds of one step on (8, 100) tokens: forward, backward, clipping and AdamW."""
    import torch
    from transformers import LlamaConfig, LlamaModel

    torch.set_num_threads(n_threads)
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=2,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    model = LlamaModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    inputs = torch.randn(8, 100, 576)

    def step() -> None:
        model(inputs_embeds=inputs, use_cache=False).last_hidden_state.square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return mean_seconds(step, _STEPS)


def _step_apart(n_threads: int, spins: str | None) -> float:
    """`training_step` in a process of its own, for libgomp reads how to wait once; None: as tsrec says."""
    unset = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = unset | ({"GOMP_SPINCOUNT": spins} if spins else {})
    code = f"from benchmarks.busy_cores import training_step; print(training_step({n_threads}))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def mean_seconds(step: Callable[[], object], n_steps: int) -> float:
    """Seconds of a step: the mean of some after the first one, which sets up."""
    step()
    return statistics.mean(_seconds(step) for _ in range(n_steps))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ways(n_threads: int) -> dict[str, Callable[[], float]]:
    """What is timed, by name; each gives seconds."""
    generator = np.random.default_rng(1)
    tall = generator.normal(size=(800_000, 35))  # the demo's proposals, and the features that the gate weighs
    weighted = tall * generator.random(len(tall))[:, None]
    texts = generator.normal(size=(12_000, 384))  # Beauty's

    def product() -> float:
        return _seconds(lambda: tall.T @ weighted)

    def decomposition() -> float:
        return _seconds(lambda: np.linalg.svd(texts, full_matrices=False))

    def in_one(work: Callable[[], float]) -> float:
        with one_blas_thread():
            return work()

    return {
        "training step, 1 thread": lambda: _step_apart(1, None),
        f"training step, {n_threads} threads, as libgomp waits": lambda: _step_apart(n_threads, _LIBGOMP),
        f"training step, {n_threads} threads, as tsrec has them wait": lambda: _step_apart(n_threads, None),
        f"tall product, {n_threads} threads": product,
        "tall product, 1 thread": lambda: in_one(product),
        f"decomposition, {n_threads} threads": decomposition,
        "decomposition, 1 thread": lambda: in_one(decomposition),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=1, help="processes that never rest")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    timed = ways(os.cpu_count() or 1)
    found: dict[tuple[str, bool], list[float]] = {}
    for _ in range(arguments.repeats):
        for beside in (False, True):
            with busy(arguments.busy) if beside else nullcontext():
                for name, way in timed.items():
                    found.setdefault((name, beside), []).append(way())
    for name in timed:
        medians = [statistics.median(found[name, beside]) for beside in (False, True)]
        print(f"{name}: alone {medians[0]:.2f} s, beside {arguments.busy} busy {medians[1]:.2f} s")


if __name__ == "__main__":
    main()
