"""The LLM's log-probabilities of what members propose: of its own beams, and of the first proposals of the others.

Beams say what the LLM thinks of its own items alone. Here it also judges some that it did not find. The fusion reads
the result as `SCORES` (`tsrec.recommenders.pool`). The stage `score` and whoever serves call the same functions.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tsrec.columns import LLM
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.ranking import Ranked, best_lists

if TYPE_CHECKING:
    from tsrec.recommenders.llm import Llm  # with torch

_RANK_OFFSET = 10  # of 1, 10 and 60 the one whose first 200 hold the target most often, on valid


def score_lists(llm: "Llm", pasts: Sequence[np.ndarray], lists: Mapping[str, Ranked], n: int) -> Ranked:
    """The LLM's log-probabilities of its own list, and of the first `n` items that the other members propose.

    Cold items have those of the beginnings of their SIDs (`Llm.score_by_beginnings`).

    Args:
        llm: the member `tsrec`.
        pasts: B arrays of item numbers, oldest first.
        lists: member -> its (B, K) lists. Those of the LLM hold log-probabilities already; further LLMs propose nothing
            here.
        n: how many proposals of the others are scored, at most; fewer where some are the LLM's own.

    Returns:
        lists as long as the LLM's and `n` together, best first; ties go to the lower item number.
    """
    own = lists[LLM]
    proposed = first_proposals({name: lists[name] for name in MEMBERS if name in lists}, n)
    own_rows, own_places = np.nonzero(np.isfinite(own.scores) & (own.items >= 0))
    own_items, own_scores = own.items[own_rows, own_places], own.scores[own_rows, own_places]
    starts = np.searchsorted(own_rows, np.arange(len(pasts) + 1))
    asked = [
        np.setdiff1d(items[items >= 0], own_items[start:stop])
        for items, start, stop in zip(proposed, starts[:-1], starts[1:], strict=True)
    ]
    found = llm.score_by_beginnings(pasts, asked)
    rows = np.concatenate([own_rows, np.repeat(np.arange(len(pasts)), [len(items) for items in asked])])
    items = np.concatenate([own_items, *asked])
    scores = np.concatenate([own_scores, *found])
    is_known = np.isfinite(scores)
    return best_lists(rows[is_known], items[is_known], scores[is_known], len(pasts), own.items.shape[1] + n)


def first_proposals(lists: Mapping[str, Ranked], n: int) -> np.ndarray:
    """(B, n) int64: the items that members propose, by the sum of 1 / (10 + rank) over members; -1 behind the last.

    It needs no fit, so that what is scored does not depend on a gate that reads the scores. Ties go to the lower item
    number. Reciprocal rank fusion: Cormack et al. 2009.

    Args:
        lists: member -> its (B, K) lists.
        n: how many items.
    """
    n_rows = len(next(iter(lists.values())).items)
    parts = []
    for ranked in lists.values():
        rows, places = np.nonzero(np.isfinite(ranked.scores) & (ranked.items >= 0))
        parts.append((rows, ranked.items[rows, places], 1 / (_RANK_OFFSET + 1 + places)))
    rows, items, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    n_items = int(items.max(initial=0)) + 1
    pairs, pair_of = np.unique(rows.astype(np.int64) * n_items + items, return_inverse=True)
    totals = np.bincount(pair_of, values, minlength=len(pairs))
    return best_lists(pairs // n_items, pairs % n_items, totals, n_rows, n).items.astype(np.int64)
