"""Soft targets: the distribution over items that the fusion of the other members gives each train target.

A target drawn from the teacher's distribution, anew each time, has in the mean the loss of that whole distribution:
cross-entropy against soft targets (Hinton et al., 1503.02531) without a loss of its own. Knows the table of the
soft_targets stage; nothing of how it was made.
"""

from dataclasses import dataclass

import numpy as np

from tsrec.columns import Columns as C
from tsrec.histories import Histories
from tsrec.store import Artifact

NO_ITEM = -1


@dataclass(frozen=True)
class SoftTargets:
    """A distribution over items for each event of the histories.

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
