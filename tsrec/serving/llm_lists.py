"""One LLM of a live model: the lists that it made lately, and how long it takes to make more."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsrec.recommenders.ranking import Ranked
from tsrec.serving.asked import Asked, filter_of
from tsrec.serving.list_cache import ListCache
from tsrec.serving.work_time import Timing

if TYPE_CHECKING:
    from tsrec.recommenders.llm import Llm  # with torch

_WARM = (1, 1, 2)  # histories that are decoded together before a model serves


class LlmLists:
    """One LLM of a live model, with the lists that it made lately and what they took; lists are `width` long at
    least."""

    def __init__(self, llm: "Llm", width: int, entries: int) -> None:
        self.llm, self.width = llm, width
        self.cache: ListCache[tuple[bytes, int]] = ListCache(entries)
        self.timing = Timing()

    def tokens(self, asked: Asked) -> int:
        """Tokens that the model reads and writes for one history, those of all beams counted."""
        n_levels, n_items = self.llm.space.n_levels, min(len(asked.past), self.llm.config.max_history)
        return 1 + n_levels * n_items + (n_levels - 1) * self.llm.config.beams

    def decode(self, some: Sequence[Asked], width: int) -> list[Ranked]:
        """The lists of some that share what is allowed, each as `Ranked` of one row; at least one is given."""
        started = time.monotonic()
        ranked = self.llm.rank([asked.past for asked in some], width, filter_of(some))
        self.timing.measured(len(some) * max(map(self.tokens, some)), time.monotonic() - started)
        return [_without_gaps(ranked.take(np.array([row]))) for row in range(len(some))]

    def warm(self, asked: Asked) -> None:
        """Decode once and again, so that the first who asks does not pay for it, and it is known what it takes."""
        for n in _WARM:
            self.decode([asked] * n, self.width)


def _without_gaps(ranked: Ranked) -> Ranked:
    """One list, as long as what is in it."""
    n = int((ranked.items[0] >= 0).sum())
    return Ranked(ranked.items[:, :n].copy(), ranked.scores[:, :n].copy())
