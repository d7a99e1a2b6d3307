"""One LLM of a live model: the lists that it made lately, and how long it takes to make more."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsrec.recommenders.fused_member import FusedMember
from tsrec.recommenders.ranking import Ranked
from tsrec.serving.asked import Asked, filter_of
from tsrec.serving.list_cache import ListCache
from tsrec.serving.work_time import Timing

if TYPE_CHECKING:
    from tsrec.recommenders.llm import Llm  # with torch

_WARM = (1, 1, 2)  # histories that are decoded together before a model serves


@dataclass(frozen=True)
class Decoded:
    """What an LLM says of one history, as `Ranked` of one row: its list, and its scores of as many as `n_scored`
    proposals of the other members; None where it scored none."""

    ranked: Ranked
    scores: Ranked | None = None
    n_scored: int = 0


class LlmLists:
    """One LLM of a live model, with the lists that it made lately and what they took; lists are `width` long at
    least. `scores_for`: the fusion that weighs this LLM's scores of what others propose; None: none does."""

    def __init__(self, llm: "Llm", width: int, entries: int, scores_for: FusedMember | None = None) -> None:
        self.llm, self.width, self._scores_for = llm, width, scores_for
        self.n_scored = scores_for.n_scored if scores_for else 0
        self.cache: ListCache[tuple[bytes, int, int], Decoded] = ListCache(entries)
        self.timing = Timing()

    def tokens(self, asked: Asked, n_scored: int = 0) -> int:
        """Tokens that the model reads and writes for one history: those of all beams counted, and of `n_scored`
        proposals as many as if no two of them began alike."""
        n_levels, n_items = self.llm.space.n_levels, min(len(asked.past), self.llm.config.max_history)
        prompt, per_item = 1 + n_levels * n_items, n_levels - 1
        return prompt + per_item * self.llm.config.beams + (prompt + per_item * n_scored if n_scored else 0)

    def decode(self, some: Sequence[Asked], width: int, n_scored: int = 0) -> list[Decoded]:
        """The lists of some that share what is allowed, and the scores of `n_scored` proposals; at least one is
        given."""
        started = time.monotonic()
        pasts, allow, scores = [asked.past for asked in some], filter_of(some), None
        ranked = self.llm.rank(pasts, width, allow)
        if n_scored and self._scores_for:
            scores = self._scores_for.scores(pasts, allow, ranked, n_scored)
        n_tokens = len(some) * max(self.tokens(asked, n_scored) for asked in some)
        self.timing.measured(n_tokens, time.monotonic() - started)
        return [
            Decoded(_row(ranked, row), None if scores is None else _row(scores, row), n_scored)
            for row in range(len(some))
        ]

    def warm(self, asked: Asked) -> None:
        """Decode once and again, so that the first who asks does not pay for it, and it is known what it takes."""
        for n in _WARM:
            self.decode([asked] * n, self.width)
            if self.n_scored:
                self.decode([asked] * n, self.width, self.n_scored)


def _row(ranked: Ranked, row: int) -> Ranked:
    """One list, as long as what is in it."""
    n = int((ranked.items[row] >= 0).sum())
    return Ranked(ranked.items[[row], :n].copy(), ranked.scores[[row], :n].copy())
