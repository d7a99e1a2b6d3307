"""Packing: several short token sequences per row, none of which sees another. Knows token ids and nothing else.

A sequence may have branches: other continuations of its beginnings, behind it in the same row. A branch sees the trunk
up to where it leaves it, and itself; neither the trunk nor another branch sees it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

IGNORED = -100
SAME_PLACE = 1 << 20  # added to a branch's fork for every earlier branch that leaves the trunk at the same place


@dataclass(frozen=True)
class Example:
    """One training sequence.

    `input_ids` (L,) int64; `labels` (L,) int64, already shifted: `labels[i]` is the token that position i must
    predict, `IGNORED` where there is no loss; `task` is an index into the task names of the run, or (L,) one a label.
    `forks` (L,) int64, None without branches: 0 on the trunk; for the tokens of a branch, which lie together behind the
    trunk, the position, from 1 on, of its first token, where the trunk has another, or ends. The n-th further branch
    that leaves at the same place has n * `SAME_PLACE` more.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    task: int | np.ndarray
    forks: np.ndarray | None = None

    def positions(self) -> np.ndarray:
        """(L,) int64: each token's place in its sequence, from 0; on a branch, counted on from where it leaves."""
        places = np.arange(len(self.input_ids))
        if self.forks is None:
            return places
        starts = np.flatnonzero(np.diff(self.forks, prepend=-1))
        within = places - np.repeat(starts, np.diff(np.append(starts, len(places))))
        counted: np.ndarray = self.forks % SAME_PLACE + within
        return counted


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
    and `tasks`; and `forks` where any example has branches.
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
    if any(example.forks is not None for example in examples):
        batch["forks"] = np.zeros(shape, dtype=np.int64)
    for index, row_examples in enumerate(rows):
        start = 0
        for segment, example in enumerate(row_examples, start=1):
            place = slice(start, start + len(example.input_ids))
            batch["input_ids"][index, place] = example.input_ids
            batch["labels"][index, place] = example.labels
            batch["position_ids"][index, place] = example.positions()
            batch["segment_ids"][index, place] = segment
            batch["tasks"][index, place] = example.task
            if example.forks is not None:
                batch["forks"][index, place] = example.forks
            start = place.stop
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def packed_attention_mask(segment_ids: Tensor, position_ids: Tensor, forks: Tensor | None = None) -> Tensor:
    """(B, 1, T, T) bool, True where attention is allowed: causal, within one segment, and on one way from its root.

    Padding forms a segment of its own, so that every position sees at least itself.
    """
    length = segment_ids.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segment_ids.device).tril()
    allowed = (segment_ids[:, :, None] == segment_ids[:, None, :]) & causal
    if forks is not None:
        query, key = forks[:, :, None], forks[:, None, :]
        on_trunk_before_fork = (key == 0) & (position_ids[:, None, :] < query % SAME_PLACE)
        allowed &= (query == key) | on_trunk_before_fork
    return allowed[:, None]
