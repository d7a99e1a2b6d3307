"""A wish in a model's own numbers: the history, and what may be shown."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tsrec.recommenders.ranking import Filter
from tsrec.serving.wishes import Wish

if TYPE_CHECKING:
    from tsrec.serving.live_model import LiveModel

_MOST_BLOCKED = 1_000  # of denied items; more are taken out of a mask, for a search looks at all that is blocked
_PER_ALLOWED = 50  # decoding with an item blocked costs so much less than building a trie with it


@dataclass(frozen=True, eq=False)
class Asked:
    """`wish` of the model `live`: `past` (H,) int64 are the items of its history, oldest first; `allowed` (N,) bool
    those that may be shown, None: all; `blocked` (M,) int64 those that may not, in order."""

    live: "LiveModel"
    wish: Wish
    past: np.ndarray
    allowed: np.ndarray | None
    blocked: np.ndarray

    @classmethod
    def of(cls, live: "LiveModel", wish: Wish) -> "Asked":
        """Look up the ids of a wish; unknown ones tell nothing. Raises DataError for an unknown method."""
        recommender = live.recommender(wish.method)
        past, denied = recommender.numbers(wish.history), recommender.numbers(wish.deny)
        no_repeats = recommender.repeats == "forbidden" if wish.no_repeats is None else wish.no_repeats
        allowed = None
        if wish.allow is not None or len(denied) > _MOST_BLOCKED:
            allowed = np.full(live.catalogue.n_items, wish.allow is None)
            allowed[recommender.numbers(wish.allow or ())] = True
            allowed[denied] = False
        parts = [past if no_repeats else past[:0], denied if allowed is None else denied[:0]]
        return cls(live, wish, past, allowed, np.unique(np.concatenate(parts)))

    def for_decoding(self) -> "Asked":
        """The same wish for an LLM, to be decoded with others: of an `allowed` that is large enough, the rest is
        blocked, for a trie of its own would take longer."""
        if self.allowed is None:
            return self
        rest = np.flatnonzero(~self.allowed)
        if len(rest) > _PER_ALLOWED * (len(self.allowed) - len(rest)):
            return self
        return replace(self, allowed=None, blocked=np.union1d(rest, self.blocked))

    @cached_property
    def allowed_mark(self) -> bytes:
        """What tells one `allowed` from another."""
        return b"" if self.allowed is None else _digest(np.packbits(self.allowed))

    def mark(self, last: int) -> bytes:
        """What tells this from other histories, by their last items, and from other constraints."""
        return _digest(self.past[-last:]) + _digest(self.blocked) + self.allowed_mark


def filter_of(some: Sequence[Asked]) -> Filter:
    """What may be shown to some that share what is allowed."""
    blocked = [asked.blocked for asked in some]
    return Filter(some[0].live.catalogue.n_items, blocked if any(map(len, blocked)) else None, some[0].allowed)


def _digest(values: np.ndarray) -> bytes:
    return hashlib.blake2b(values.tobytes(), digest_size=16).digest()
