"""What a training run sees, and in which order: every epoch draws anew from each task, by its weight.

The whole order is worked out beforehand from seed, weights and epochs alone, as two short arrays; an example is made
when it is asked for, one that varies from its row and its place in the run. So a resumed run only has to know its step.
Knows nothing of what an example holds.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np

from tsrec.training.packing import Example, Examples


@runtime_checkable
class ResampledExamples(Protocol):
    """Examples that are drawn anew each time they are seen, instead of being the same in every epoch."""

    def __len__(self) -> int:
        """How many rows there are."""

    def resample(self, row: int, place: int) -> Example:
        """The example of a row as it is seen at a place of the run. The same two numbers give the same example."""


class TaskMixture:
    """All examples of a run in the order of training: epoch after epoch, each mixed from all tasks and shuffled.

    Args:
        parts: by number of the task, its examples and its weight: how often an epoch sees each (`rows_by_epoch`).
        epochs: passes over the mix; of the last one, the fraction is cut off that is too much.
        seed: seed of the draws (with the task's number) and of the order (with the epoch).
    """

    def __init__(
        self, parts: Mapping[int, tuple[Examples | ResampledExamples, float]], epochs: float, seed: int
    ) -> None:
        self.epochs = epochs
        self._examples = {task: examples for task, (examples, _) in parts.items()}
        n_epochs = math.ceil(epochs)
        rows_by_task = {
            task: rows_by_epoch(len(examples), weight, n_epochs, np.random.default_rng([seed, task]))
            for task, (examples, weight) in parts.items()
        }
        ordered = []
        for epoch in range(n_epochs):
            tasks, rows = _concatenated({task: by_epoch[epoch] for task, by_epoch in rows_by_task.items()})
            order = np.random.default_rng([seed, epoch, 1]).permutation(len(rows))
            order = order[: math.ceil(min(1.0, epochs - epoch) * len(rows))]
            ordered.append((tasks[order], rows[order]))
        self._task, self._row = (np.concatenate(arrays) for arrays in zip(*ordered, strict=True))

    def __len__(self) -> int:
        """Examples over all epochs."""
        return len(self._row)

    def __getitem__(self, index: int) -> Example:
        """The example that comes at place `index`."""
        examples, row = self._examples[int(self._task[index])], int(self._row[index])
        return examples.resample(row, index) if isinstance(examples, ResampledExamples) else examples[row]


def rows_by_epoch(n_rows: int, weight: float, n_epochs: int, random: np.random.Generator) -> list[np.ndarray]:
    """Which rows every epoch sees: (rows of that epoch,) int32 each, by the weight.

    An epoch sees each row floor(weight) times. For the rest of the weight, the next share of a permutation of all
    rows: 0.25 sees each row once in four epochs. A permutation that is used up is followed by a fresh one, and no row
    comes twice where both meet.
    """
    # Ends as products: sums would be inexact, the more so the more epochs come before.
    ends = [round(weight % 1 * n_rows * epoch) for epoch in range(n_epochs + 1)]
    ahead = np.empty(0, dtype=np.int32)  # what is left of the current permutation
    epochs = []
    for start, end in pairwise(ends):
        size = end - start
        taken, ahead = ahead[:size], ahead[size:]
        if len(taken) < size:
            fresh = random.permutation(n_rows).astype(np.int32)
            first = fresh[~np.isin(fresh, taken)][: size - len(taken)]
            ahead = fresh[~np.isin(fresh, first)]
            taken = np.concatenate([taken, first])
        epochs.append(np.concatenate([np.tile(np.arange(n_rows, dtype=np.int32), int(weight)), taken]))
    return epochs


def _concatenated(rows_by_task: Mapping[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Tasks (int16) and rows (int32) of one epoch, task after task."""
    tasks = np.repeat(np.array(list(rows_by_task), dtype=np.int16), [len(rows) for rows in rows_by_task.values()])
    return tasks, np.concatenate([np.empty(0, dtype=np.int32), *rows_by_task.values()])
