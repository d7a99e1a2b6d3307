"""The fusion at serving time, as a member like any other: its members propose items, and the gate ranks them.

The gate is fitted in `tsrec.recommenders.fuse_stage`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsrec.columns import LLM
from tsrec.recommenders.fusion_gate import Gate
from tsrec.recommenders.member import Member
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.pool import SCORES
from tsrec.recommenders.ranking import Filter, Ranked
from tsrec.recommenders.scored_proposals import score_lists


@dataclass(frozen=True)
class FusedMember:
    """`members` by name, the `gate` over them, and `popularity` (N, 2) of every item.

    `n_candidates` is the number of items that each member is asked for: as many as when the gate was fitted.
    `n_scored`: of the others' proposals so many are scored by the LLM, where the gate weighs its scores.
    """

    members: Mapping[str, Member]
    gate: Gate
    popularity: np.ndarray
    n_candidates: int
    n_scored: int = 0

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """The best of what any member proposes."""
        return self.rank_with_members(pasts, k, allow, {})[0]

    def rank_with_members(
        self, pasts: Sequence[np.ndarray], k: int, allow: Filter, given: Mapping[str, Ranked]
    ) -> tuple[Ranked, np.ndarray]:
        """The same, and (B, k, M) int32: the rank that each member gave each item, 0 where it did not propose it.

        Members whose lists are `given` are not asked. Nor is the LLM for its scores where these are (`SCORES`).
        """
        lists = {
            name: given[name] if name in given else self.members[name].rank(pasts, self.n_candidates, allow)
            for name in self.gate.members
        }
        if self.gate.scored:
            lists[SCORES] = given[SCORES] if SCORES in given else self._score(pasts, lists, self.n_scored)
        return self.gate.rank(self.gate.pool(lists, pasts, self.popularity), k)

    def scores(self, pasts: Sequence[np.ndarray], allow: Filter, own: Ranked, n: int) -> Ranked:
        """The LLM's scores of `n` proposals of the other members, for who has the LLM's `own` lists already."""
        lists = {
            name: self.members[name].rank(pasts, self.n_candidates, allow) for name in MEMBERS if name in self.members
        }
        own = Ranked(own.items[:, : self.n_candidates], own.scores[:, : self.n_candidates])
        return self._score(pasts, {**lists, LLM: own}, n)

    def _score(self, pasts: Sequence[np.ndarray], lists: Mapping[str, Ranked], n: int) -> Ranked:
        llm: Any = self.members[LLM]  # the only member that scores
        return score_lists(llm, pasts, lists, n)
