"""Packed histories that are drawn anew each time they are seen: what is learned of a window may vary, and is said here.

Everything is drawn from the seed and the place in the run alone, so that a training that was killed goes on the same.
"""

import numpy as np

from tsrec.finetune.sequences import HistoryExamples
from tsrec.finetune.soft_targets import NO_ITEM, SoftTargets
from tsrec.finetune.tasks import DISTILLED, HISTORY_TASK, TASK_NAMES
from tsrec.training import Example

_STREAM = 5
_OWN, _TAUGHT = TASK_NAMES.index(HISTORY_TASK), TASK_NAMES.index(DISTILLED)


class VaryingHistories:
    """Histories of which some targets are drawn from soft ones.

    Args:
        histories: as they are.
        soft: what the fusion of other members holds likely.
        share: the probability that a target is drawn from it, where there is something to draw from.
        seed: of all draws.
    """

    def __init__(self, histories: HistoryExamples, soft: SoftTargets, share: float, seed: int) -> None:
        self._histories, self._soft, self._share, self._seed = histories, soft, share, seed

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._histories)

    def varied(self, row: int, place: int) -> Example:
        """The window `row` as it is seen at a place of the run."""
        random = np.random.default_rng([self._seed, place, _STREAM])
        window = self._histories.window(row)
        shown = self._histories.items[window.events]
        drawn = self._soft.draw(window.events, random)
        is_taught = (random.random(len(shown)) < self._share) & (drawn != NO_ITEM)
        return self._histories.written(
            shown, np.where(is_taught, drawn, shown), window.learned, np.where(is_taught, _TAUGHT, _OWN)
        )
