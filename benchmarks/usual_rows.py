"""Next-item targets per second: packed histories in tsrec's `train`, against the usual one row per target.

    python -m benchmarks.usual_rows --shape industrial

The usual way, as MiniOneRec (arXiv 2510.24431) and others describe it: each target has a row of its own, with an
instruction, the last ten items, and the answer. Rows are padded to the longest of a batch. Logits span the whole
vocabulary. transformers' own Trainer trains every weight. Both ways train the same backbone (random weights of
SmolLM2-135M's shape) on the same random histories, in turns in one process. Each turn is timed twice, with few and with
more steps, so that start-up work does not count. Prints medians of processor time.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from benchmarks.training_step import SHAPES, Shape, random_backbone, random_examples, seconds, seconds_in_training
from tsrec.machine.devices import resolve_precision
from tsrec.training.packing import IGNORED, Example

N_TEXT = 49_152  # SmolLM2's vocabulary
N_INSTRUCTION = 83  # tokens of MiniOneRec's instruction by SmolLM2's tokenizer, without the items
SEPARATOR, PADDING = 1, 0
PROMPT_ITEMS = 10


def usual_rows(examples: list[Example], n_levels: int) -> Iterator[dict[str, list[int]]]:
    """One row a target: the instruction, the items before it with separators between them, the answer and an end."""
    instruction = list(range(2, 2 + N_INSTRUCTION))
    for example in examples:
        tokens = np.append(example.input_ids, example.labels[-1])  # the last item's last token is only a label
        items = tokens.reshape(-1, n_levels).tolist()
        for place in range(1, len(items)):
            past = [token for item in items[max(0, place - PROMPT_ITEMS) : place] for token in (*item, SEPARATOR)]
            prompt, answer = instruction + past, [*items[place], SEPARATOR]
            yield usual_row(prompt, answer)


def usual_row(prompt: list[int], answer: list[int]) -> dict[str, list[int]]:
    """Token ids of a row; only the answer has a loss."""
    return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}


def padded(rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)
    missing = [longest - len(row["input_ids"]) for row in rows]
    pairs = list(zip(rows, missing, strict=True))
    return {
        "input_ids": torch.tensor([row["input_ids"] + [PADDING] * n for row, n in pairs]),
        "labels": torch.tensor([row["labels"] + [IGNORED] * n for row, n in pairs]),
        "attention_mask": torch.tensor([[1] * (longest - n) + [0] * n for n in missing]),
    }


def usual_trainer(
    model: PreTrainedModel,
    rows: list[dict[str, list[int]]],
    folder: str,
    batch_size: int,
    precision: torch.dtype,
    **more: Any,
) -> Trainer:
    """The Trainer of the usual way: padded rows, and every weight is trained; `more` are its arguments."""
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=batch_size,
        bf16=precision is torch.bfloat16,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        **more,
    )
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=padded)
    trainer.remove_callback(PrinterCallback)
    return trainer


def usual_seconds(shape: Shape, precision: torch.dtype, rows: list[dict[str, list[int]]], batch_size: int) -> float:
    model = random_backbone(shape.n_layers, N_TEXT + sum(shape.sizes))
    with tempfile.TemporaryDirectory() as folder:
        return seconds(usual_trainer(model, rows, folder, batch_size, precision, num_train_epochs=1).train)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="industrial")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--usual-batch", type=int, default=16, help="rows of a batch of the usual way")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape, precision = SHAPES[arguments.shape], resolve_precision("auto", torch.device("cpu"))
    n_levels, usual_batch = len(shape.sizes), arguments.usual_batch
    few, many = 2, 6
    found: dict[str, list[float]] = {"packed": [], "usual": []}
    for _ in range(arguments.repeats):
        examples = random_examples(shape, many * shape.batch_size, N_TEXT)
        n_targets = sum(len(example.input_ids) // n_levels for example in examples[few * shape.batch_size :])
        taken = [seconds_in_training(shape, precision, steps, N_TEXT) for steps in (few, many)]
        found["packed"].append(n_targets / (taken[1] - taken[0]))
        rows = list(usual_rows(examples, n_levels))
        taken = [usual_seconds(shape, precision, rows[: steps * usual_batch], usual_batch) for steps in (1, 3)]
        found["usual"].append(2 * usual_batch / (taken[1] - taken[0]))
    print(f"{arguments.shape}: {precision}, {arguments.threads} threads, processor time")
    for name, rates in found.items():
        print(f"{name}: {statistics.median(rates):.1f} targets/s ({', '.join(f'{rate:.1f}' for rate in rates)})")
    ratios = [packed / usual for packed, usual in zip(found["packed"], found["usual"], strict=True)]
    print(f"packed over usual: {statistics.median(ratios):.1f} ({', '.join(f'{ratio:.1f}' for ratio in ratios)})")


if __name__ == "__main__":
    main()
