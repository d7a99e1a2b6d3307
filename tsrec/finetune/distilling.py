"""Distillation: packed histories, a share of whose targets is drawn from the fusion's soft targets.

They are drawn anew each time a history is seen.

Everything is drawn from the seed and the place in the run alone, so that a training that was killed goes on the same.
"""

from dataclasses import dataclass

import numpy as np

from tsrec.finetune.sequences import HistoryExamples
from tsrec.finetune.soft_targets import NO_ITEM, SoftTargets
from tsrec.finetune.tasks import DISTILLED, HISTORY_TASK, TASK_NAMES
from tsrec.training.packing import Example

_STREAM = 5
_HISTORY, _DISTILLED = TASK_NAMES.index(HISTORY_TASK), TASK_NAMES.index(DISTILLED)


@dataclass(frozen=True)
class DistilledHistories:
    """Packed `histories`, a `share` of whose targets is drawn from the `soft` ones."""

    histories: HistoryExamples
    seed: int
    soft: SoftTargets
    share: float

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.histories)

    def resample(self, row: int, place: int) -> Example:
        """The window `row` as it is seen at a place of the run: its targets are drawn by seed and place."""
        random = np.random.default_rng([self.seed, place, _STREAM])
        window = self.histories.window(row)
        # Two values that nothing needs any more: without drawing them, every seed would give other targets than before.
        random.integers(max(1, len(window.learned) - 1))
        random.random()
        items = self.histories.items[window.events]
        drawn = self.soft.draw(window.events, random)
        is_distilled = (random.random(len(items)) < self.share) & (drawn != NO_ITEM)
        targets, tasks = np.where(is_distilled, drawn, items), np.where(is_distilled, _DISTILLED, _HISTORY)
        return self.histories.encode(items, targets, window.learned, tasks)
