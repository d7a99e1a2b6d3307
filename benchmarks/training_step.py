"""Where the time of a fine-tuning step goes, and what the Trainer adds to it.

    python -m benchmarks.training_step --shape demo
    python -m benchmarks.training_step --shape industrial --threads 1
    python -m benchmarks.training_step --shape industrial --threads 2 --processes 1 2

Uses random tokens and a random Llama of SmolLM2-135M's shape (hidden 576, 9 heads, 3 for keys and values). Examples are
as long as in the two data sets. Figures are processor time, which other work disturbs little. Prints:

- the time of a bare step (forward, backward, clipping, AdamW), also of the first and last ones, for memory may
  fragment (`--steps 200`), and the share of each kind of operator
- how fast the layers' matrix products run, beside products of the same shapes done alone
- the time of a step in `train`, from two runs of different length, so that start-up work does not count

With `--processes` it prints the last alone, for each number of them, which share the threads: by the clock, and the
first process's processor time.
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

from tsrec.config import FinetuneConfig
from tsrec.finetune.model import SidModel
from tsrec.machine.devices import resolve_precision
from tsrec.sid.space import SidSpace
from tsrec.training.mixture import TaskMixture
from tsrec.training.packing import Example, pack
from tsrec.training.processes import run_in_processes
from tsrec.training.trainer import Recipe, train

N_TEXT = 1000  # text tokens, which are no part of a step on histories
PARTS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::linear", "mkldnn::"),
    "attention": ("aten::bmm", "aten::_scaled_dot_product", "softmax", "aten::index_select"),
    "optimizer, clipping": ("_fused_adamw", "Optimizer", "_foreach", "aten::linalg_vector_norm"),
}


@dataclass(frozen=True)
class Shape:
    """A data set as training sees it: `n_items` draws how many items each of N examples has."""

    n_layers: int
    sizes: tuple[int, ...]
    batch_size: int
    n_items: Callable[[np.random.Generator, int], np.ndarray]


def _demo_items(random: np.random.Generator, n: int) -> np.ndarray:
    return np.where(random.random(n) < 0.6, 50, random.integers(10, 50, n))  # most windows are full


def _industrial_items(random: np.random.Generator, n: int) -> np.ndarray:
    return random.lognormal(np.log(5.5), 0.45, n).round().clip(2, 50).astype(int)


SHAPES = {
    "demo": Shape(2, (64, 256), 8, _demo_items),
    "industrial": Shape(6, (128, 256, 256), 32, _industrial_items),
}


def random_backbone(n_layers: int, n_text: int = N_TEXT) -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=n_text,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=n_layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    model: LlamaForCausalLM = LlamaForCausalLM._from_config(config, attn_implementation="sdpa")
    return model


def random_model(shape: Shape, n_text: int = N_TEXT) -> SidModel:
    space = SidSpace(shape.sizes)
    rows = 0.02 * torch.randn(space.n_tokens, 576)
    backbone = random_backbone(shape.n_layers, n_text)
    return SidModel(backbone, rows, space, n_text, 1, FinetuneConfig()).train()


def random_examples(shape: Shape, n: int, n_text: int = N_TEXT) -> list[Example]:
    random, offsets = np.random.default_rng(1), SidSpace(shape.sizes).offsets
    examples = []
    for n_items in shape.n_items(random, n):
        ids = n_text + np.array(offsets) + random.integers(0, shape.sizes, (n_items, len(shape.sizes)))
        examples.append(Example(ids.ravel()[:-1], ids.ravel()[1:], task=0))
    return examples


def bare_steps(shape: Shape, precision: torch.dtype) -> tuple[SidModel, Callable[[dict[str, Tensor]], None]]:
    """A model, and what one step does with a batch."""
    model = random_model(shape)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step(batch: dict[str, Tensor]) -> None:
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            loss = model(**batch)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return model, step


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def shares(step: Callable[[dict[str, Tensor]], None], batches: list[dict[str, Tensor]]) -> dict[str, float]:
    """Which share of the processor's time each kind of operator takes."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for batch in batches:
            step(batch)
    found: Counter[str] = Counter()
    for event in recorded.key_averages():
        part = next((part for part, names in PARTS.items() if any(name in event.key for name in names)), "the rest")
        found[part] += event.self_cpu_time_total
    return {part: found[part] / found.total() for part in (*PARTS, "the rest")}


def products_alone(model: SidModel, n_tokens: int, precision: torch.dtype) -> float:
    """Seconds of a step's products in the layers, forward and backward, each done alone on `n_tokens` rows."""
    total = 0.0
    for layer in model.decoder.modules():
        if isinstance(layer, nn.Linear):
            weight = layer.weight.detach().to(precision)  # (out, in)
            inputs = torch.randn(n_tokens, weight.shape[1]).to(precision)
            gradient = torch.randn(n_tokens, weight.shape[0]).to(precision)
            for left, right in ((inputs, weight.T), (gradient, weight), (gradient.T, inputs)):
                total += min(seconds(partial(torch.matmul, left, right)) for _ in range(5))
    return total


def seconds_of_step(shape: str, precision: torch.dtype, n_steps: int) -> tuple[float, float]:
    """By the clock, and of this process's processor time."""
    taken = []
    for n in (n_steps // 4, n_steps):
        began = time.perf_counter()
        processor = seconds_in_training(SHAPES[shape], precision, n)
        taken.append((time.perf_counter() - began, processor))
    clock, processor = ((long - short) / (n_steps - n_steps // 4) for short, long in zip(*taken, strict=True))
    return clock, processor


def seconds_in_training(shape: Shape, precision: torch.dtype, n_steps: int, n_text: int = N_TEXT) -> float:
    examples = random_examples(shape, n_steps * shape.batch_size, n_text)
    recipe = Recipe(shape.batch_size, 1e-4, 1, 0.1, 1.0, 1, None, str(precision).removeprefix("torch."), "cpu", 1)
    with tempfile.TemporaryDirectory() as folder:
        order, model = TaskMixture({0: (examples, 1.0)}, 1, seed=1), random_model(shape, n_text)
        return seconds(lambda: train(model, order, [], recipe, Path(folder), ["history"], pad_id=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="demo")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--processes", type=int, nargs="+", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape, precision = SHAPES[arguments.shape], resolve_precision(arguments.precision, torch.device("cpu"))
    for n in arguments.processes:
        from benchmarks.training_step import seconds_of_step as importable  # not that of `__main__`

        job = (arguments.shape, precision, arguments.steps)
        clock, processor = seconds_of_step(*job) if n == 1 else run_in_processes(importable, job, n, "cpu")
        print(f"a step in train(), {n} processes on {arguments.threads} threads: {clock:.3f} s, {processor:.3f} s")
    if arguments.processes:
        return
    examples = random_examples(shape, arguments.steps * shape.batch_size)
    starts = range(0, len(examples), shape.batch_size)
    batches = [pack(examples[start : start + shape.batch_size], 0) for start in starts]
    n_tokens = statistics.mean(int((batch["segment_ids"] > 0).sum()) for batch in batches)
    n_places = statistics.mean(batch["segment_ids"].numel() for batch in batches)
    rows = statistics.mean(len(batch["segment_ids"]) for batch in batches)
    print(f"{arguments.shape}: {precision}, {arguments.threads} threads, processor time")
    print(f"a batch: {n_tokens:.0f} tokens in {rows:.1f} rows of {n_places / rows:.0f}, {n_tokens / n_places:.0%} full")
    model, step = bare_steps(shape, precision)
    step(batches[0])
    each = [seconds(partial(step, batch)) for batch in batches]
    bare, quarter = statistics.mean(each), max(1, len(each) // 4)
    first, last = statistics.mean(each[:quarter]), statistics.mean(each[-quarter:])
    print(f"a bare step: {bare:.3f} s, {n_tokens / bare:,.0f} tokens/s")
    print(f"  in the first quarter {first:.3f} s, in the last {last:.3f} s")
    taken = shares(step, batches[: len(batches) // 2])
    for part, share in taken.items():
        print(f"  {part:20s} {share:4.0%} {share * bare:.3f} s")
    alone = products_alone(model, round(n_tokens), precision)
    rate = alone / (taken["matrix products"] * bare)
    print(f"products of these shapes alone: {alone:.3f} s; those of the layers run at {rate:.0%} of that rate")
    n_short = arguments.steps // 4
    inside = seconds_in_training(shape, precision, arguments.steps) - seconds_in_training(shape, precision, n_short)
    inside /= arguments.steps - n_short
    print(f"a step in train(): {inside:.3f} s, {n_tokens / inside:,.0f} tokens/s, {inside / bare - 1:+.0%}")


if __name__ == "__main__":
    main()
