"""Packed histories that are drawn anew each time they are seen: what of a window is shown, and what is learned there.

Everything is drawn from the seed and the place in the run alone, so that a training that was killed goes on the same.
"""

from dataclasses import dataclass

import numpy as np

from tsrec.config import FinetuneConfig
from tsrec.finetune.neighbours import NO_ITEM
from tsrec.finetune.sequences import HistoryExamples, Window
from tsrec.finetune.soft_targets import SoftTargets
from tsrec.finetune.tasks import DISTILLED, HISTORY_TASK, TASK_NAMES
from tsrec.training.packing import Example

_STREAM = 5
_OWN, _TAUGHT = TASK_NAMES.index(HISTORY_TASK), TASK_NAMES.index(DISTILLED)


@dataclass(frozen=True)
class VaryingHistories:
    """Histories that begin later with probability `crop`, of whose items some are shown as one of their `neighbours`
    (n_items, K), with probability `replace`, and of whose targets a `share` is drawn from `soft` ones."""

    histories: HistoryExamples
    seed: int
    crop: float = 0.0
    neighbours: np.ndarray | None = None
    replace: float = 0.0
    soft: SoftTargets | None = None
    share: float = 0.0

    @classmethod
    def of(
        cls,
        histories: HistoryExamples,
        config: FinetuneConfig,
        neighbours: np.ndarray | None,
        soft: SoftTargets | None,
    ) -> "VaryingHistories":
        """As the settings say."""
        augment = config.augment
        return cls(histories, config.seed, augment.crop, neighbours, augment.replace, soft, config.distill.share)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.histories)

    def varied(self, row: int, place: int) -> Example:
        """The window `row` as it is seen at a place of the run."""
        random = np.random.default_rng([self.seed, place, _STREAM])
        window = self._cropped(self.histories.window(row), random)
        items = self.histories.items[window.events]
        targets, tasks = items, None
        if self.soft is not None:
            drawn = self.soft.draw(window.events, random)
            is_taught = (random.random(len(items)) < self.share) & (drawn != NO_ITEM)
            targets, tasks = np.where(is_taught, drawn, items), np.where(is_taught, _TAUGHT, _OWN)
        return self.histories.written(self._swapped(items, random), targets, window.learned, tasks)

    def _cropped(self, window: Window, random: np.random.Generator) -> Window:
        """The window, or what is left of it from some item before its last target on."""
        n_left_out = int(random.integers(max(1, len(window.learned) - 1)))
        if random.random() >= self.crop or not n_left_out:
            return window
        learned = window.learned[n_left_out:].copy()
        learned[0] = False  # nothing comes before it
        return Window(window.start + n_left_out, learned)

    def _swapped(self, items: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """(H,) what is shown of `items` (H,); the last one, after which nothing comes, stays."""
        if self.neighbours is None:
            return items
        near = self.neighbours[items]
        n_near = (near != NO_ITEM).sum(axis=1)
        chosen = (random.random(len(items)) * n_near).astype(np.int64)
        is_swapped = (random.random(len(items)) < self.replace) & (n_near > 0)
        is_swapped[-1] = False
        return np.where(is_swapped, near[np.arange(len(items)), np.minimum(chosen, np.maximum(n_near - 1, 0))], items)
