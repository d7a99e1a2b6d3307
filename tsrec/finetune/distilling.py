"""Distillation: packed histories, a share of whose targets is drawn from what the other members' fusion holds likely.

Targets are drawn anew each time a history is seen. That has the same mean loss as cross-entropy against the whole
distribution (Hinton et al., 1503.02531), without a loss of its own. Everything is drawn from the seed and the place in
the run alone, so that a training that was killed goes on the same.
"""

from dataclasses import dataclass

import numpy as np

from tsrec.columns import Columns as C
from tsrec.finetune.sequences import HistoryExamples
from tsrec.finetune.tasks import DISTILLED, HISTORY_TASK, TASK_NAMES
from tsrec.histories import Histories
from tsrec.store import Artifact
from tsrec.training.packing import Example

NO_ITEM = -1
_STREAM = 5
_HISTORY, _DISTILLED = TASK_NAMES.index(HISTORY_TASK), TASK_NAMES.index(DISTILLED)


@dataclass(frozen=True)
class SoftTargets:
    """A distribution over items for each event of the histories, from the table of the soft_targets stage.

    Event e may come out as any of `items[offsets[e]:offsets[e + 1]]`. `items` is (N,) int32, `offsets` (E + 1,) int64.
    `sums` (N + 1,) float64 are the running sums of all items' probabilities, from 0 on.
    """

    offsets: np.ndarray
    items: np.ndarray
    sums: np.ndarray

    @classmethod
    def read(cls, artifact: Artifact, histories: Histories) -> "SoftTargets":
        """What the stage made of the same histories."""
        table = artifact.table("soft_targets", [C.USER, C.POSITION, C.ITEMS, C.SCORES])
        users = np.searchsorted(histories.user_ids, table[C.USER].to_numpy())
        events = histories.offsets[users] + table[C.POSITION].to_numpy()  # rising
        lists = table[C.ITEMS].combine_chunks()
        lengths = np.zeros(len(histories.items), dtype=np.int64)
        lengths[events] = lists.value_lengths().to_numpy()
        probabilities = np.exp(table[C.SCORES].combine_chunks().flatten().to_numpy().astype(np.float64))
        return cls(
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            items=lists.flatten().to_numpy(),
            sums=np.concatenate([[0.0], np.cumsum(probabilities)]),
        )

    def draw(self, events: slice, random: np.random.Generator) -> np.ndarray:
        """(H,) int32: an item for each of the events, by its probability; `NO_ITEM` where nothing is known."""
        bounds = self.offsets[events.start : events.stop + 1]
        starts, ends = bounds[:-1], bounds[1:]
        drawn = np.full(len(starts), NO_ITEM, dtype=np.int32)
        has_targets = ends > starts
        # Inverse transform sampling: a uniform number between the running sums at both ends falls into one item's span.
        low, high = self.sums[starts], self.sums[ends]
        uniform = low + random.random(len(starts)) * (high - low)
        places = np.clip(np.searchsorted(self.sums, uniform, side="right") - 1, starts, ends - 1)
        drawn[has_targets] = self.items[places[has_targets]]
        return drawn


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
        events, learned = self.histories.window(row)
        # Two values that nothing needs any more: without drawing them, every seed would give other targets than before.
        random.integers(max(1, len(learned) - 1))
        random.random()
        items = self.histories.items[events]
        drawn = self.soft.draw(events, random)
        is_distilled = (random.random(len(items)) < self.share) & (drawn != NO_ITEM)
        targets, tasks = np.where(is_distilled, drawn, items), np.where(is_distilled, _DISTILLED, _HISTORY)
        return self.histories.encode(items, targets, learned, tasks)
