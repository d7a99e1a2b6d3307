"""The fusion at serving time, as a member like any other: its members propose items, and the gate ranks them.

The gate is fitted in `tsrec.recommenders.fuse_stage`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsrec.recommenders.fusion_gate import Gate
from tsrec.recommenders.member import Member
from tsrec.recommenders.ranking import Filter, Ranked


@dataclass(frozen=True)
class FusedMember:
    """`members` by name, the `gate` over them, and `popularity` (N, 2) of every item.

    `n_candidates` is the number of items that each member is asked for: as many as when the gate was fitted.
    """

    members: Mapping[str, Member]
    gate: Gate
    popularity: np.ndarray
    n_candidates: int

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """The best of what any member proposes."""
        return self.rank_with_members(pasts, k, allow, {})[0]

    def rank_with_members(
        self, pasts: Sequence[np.ndarray], k: int, allow: Filter, given: Mapping[str, Ranked]
    ) -> tuple[Ranked, np.ndarray]:
        """The same, and (B, k, M) int32: the rank that each member gave each item, 0 where it did not propose it.

        Members whose lists are `given` are not asked.
        """
        lists = {
            name: given[name] if name in given else self.members[name].rank(pasts, self.n_candidates, allow)
            for name in self.gate.members
        }
        return self.gate.rank(self.gate.pool(lists, pasts, self.popularity), k)
