"""What a training run sees, and in which order: every epoch draws anew from each task, by its weight.

The whole order is worked out beforehand from seed, weights and epochs alone, as two short arrays; an example is made
when it is asked for. So a resumed run only has to know its step. Knows nothing of what an example holds.
"""

import math
from collections.abc import Mapping

import numpy as np

from tsrec.training.packing import Example, Examples


class Mixture:
    """All examples of a run, epoch after epoch, each epoch shuffled.

    Args:
        parts: by number of the task, its examples and its weight: how often each is seen per epoch; see `draws`.
        epochs: passes over the mix; of the last one, the fraction is cut off that is too much.
        seed: seed of the draws (with the task's number) and of the order (with the epoch).
    """

    def __init__(self, parts: Mapping[int, tuple[Examples, float]], epochs: float, seed: int) -> None:
        self.epochs = epochs
        self._examples = {task: examples for task, (examples, _) in parts.items()}
        n_epochs = math.ceil(epochs)
        drawn = {
            task: draws(len(examples), weight, n_epochs, np.random.default_rng([seed, task]))
            for task, (examples, weight) in parts.items()
        }
        tasks, rows = [], []
        for epoch in range(n_epochs):
            task = np.repeat(np.array(list(drawn), dtype=np.int16), [len(mine[epoch]) for mine in drawn.values()])
            row = np.concatenate([mine[epoch] for mine in drawn.values()])
            order = np.random.default_rng([seed, epoch, 1]).permutation(len(row))
            order = order[: math.ceil(min(1.0, epochs - epoch) * len(row))]
            tasks.append(task[order])
            rows.append(row[order])
        self._task, self._row = np.concatenate(tasks), np.concatenate(rows)

    def __len__(self) -> int:
        """Examples over all epochs."""
        return len(self._row)

    def __getitem__(self, index: int) -> Example:
        """The example that comes at place `index`."""
        return self._examples[int(self._task[index])][int(self._row[index])]


def draws(n_rows: int, weight: float, n_epochs: int, random: np.random.Generator) -> list[np.ndarray]:
    """Which rows every epoch sees: (rows of that epoch,) int32 each.

    Every epoch sees each row floor(weight) times. For the rest of the weight, the next share of a permutation of all
    rows: 0.25 sees each row once in four epochs. A permutation that is used up is followed by a fresh one, and no row
    comes twice where both meet.
    """
    whole, part = divmod(weight, 1)
    always = np.tile(np.arange(n_rows, dtype=np.int32), int(whole))
    ahead = np.empty(0, dtype=np.int32)  # what is left of the current permutation
    epochs = []
    for epoch in range(n_epochs):
        size = round(part * n_rows * (epoch + 1)) - round(part * n_rows * epoch)
        taken, ahead = ahead[:size], ahead[size:]
        if len(taken) < size:
            fresh = random.permutation(n_rows).astype(np.int32)
            first = fresh[~np.isin(fresh, taken)][: size - len(taken)]
            ahead = fresh[~np.isin(fresh, first)]
            taken = np.concatenate([taken, first])
        epochs.append(np.concatenate([always, taken]))
    return epochs
