"""Packing: several short token sequences per row, none of which sees another. Knows token ids and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One training sequence.

    `input_ids` (L,) int64; `labels` (L,) int64, already shifted: `labels[i]` is the token that position i must
    predict, `IGNORED` where there is no loss; `task` is an index into the run's task names.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    task: int


class Examples(Protocol):
    """Examples by number: a list, or something that makes each one when it is asked for."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> Example:
        """One of them."""


def pack(examples: Sequence[Example], pad_id: int, min_row: int = 64) -> dict[str, Tensor]:
    """Lay the examples of one batch into rows, first fit decreasing.

    A row is as long as the longest example (at least `min_row`). Returns (B, T) int64 tensors: `input_ids`,
    `position_ids` (restarting with every example), `segment_ids` (0 = padding, examples of a row from 1), `labels`
    and `tasks`.
    """
    capacity = max(min_row, *(len(example.input_ids) for example in examples))
    rows: list[list[Example]] = []
    free: list[int] = []
    for example in sorted(examples, key=lambda example: -len(example.input_ids)):
        length = len(example.input_ids)
        row = next((index for index, room in enumerate(free) if room >= length), None)
        if row is None:
            row = len(rows)
            rows.append([])
            free.append(capacity)
        rows[row].append(example)
        free[row] -= length
    shape = (len(rows), capacity - min(free))
    batch = {name: np.zeros(shape, dtype=np.int64) for name in ("position_ids", "segment_ids", "tasks")}
    batch["input_ids"] = np.full(shape, pad_id, dtype=np.int64)
    batch["labels"] = np.full(shape, IGNORED, dtype=np.int64)
    for index, row_examples in enumerate(rows):
        start = 0
        for segment, example in enumerate(row_examples, start=1):
            place = slice(start, start + len(example.input_ids))
            batch["input_ids"][index, place] = example.input_ids
            batch["labels"][index, place] = example.labels
            batch["position_ids"][index, place] = np.arange(len(example.input_ids))
            batch["segment_ids"][index, place] = segment
            batch["tasks"][index, place] = example.task
            start = place.stop
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def packed_attention_mask(segment_ids: Tensor) -> Tensor:
    """(B, 1, T, T) bool, True where attention is allowed: causal, and within one segment.

    Padding forms a segment of its own, so that every position sees at least itself.
    """
    length = segment_ids.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment_ids.device).tril()
    return ((segment_ids[:, :, None] == segment_ids[:, None, :]) & causal)[:, None]
