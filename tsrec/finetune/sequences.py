"""Packed histories: one sequence per user, [BOS] then every item's SID tokens, a loss on every item after the first.

One row per user instead of one per target: about 28 times fewer tokens for the same targets. Long histories are cut
into windows that repeat a few items, without loss, as context.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from tsrec.columns import Split
from tsrec.histories import Histories
from tsrec.training import IGNORED, Example


def windows(is_target: np.ndarray, window_items: int, context_items: int) -> Iterator[tuple[int, int, int]]:
    """Cut one user's events into windows that cover every target exactly once.

    Args:
        is_target: (H,) bool, which events are to be learned; the first event of a user never is.
        window_items: most items per window.
        context_items: items before a window's first target that it repeats.

    Yields:
        (start, first, end): the window is events start:end, its targets those among first:end.
    """
    remaining = np.flatnonzero(is_target)
    while len(remaining):
        first = int(remaining[0])
        start = max(0, first - context_items)
        covered = remaining[remaining < start + window_items]
        yield start, first, int(covered[-1]) + 1
        remaining = remaining[len(covered) :]


class HistoryExamples:
    """All users' histories as examples with a loss on the targets of `split`, each made when it is asked for.

    Args:
        item_tokens: (n_items, L) int64, the token ids of every item's SID.
        window_items, context_items: see `windows`.
        opening: id of the token that opens a sequence.
        task: index of the task.
        among: (E,) bool, the events that may be learned; None: all.
    """

    def __init__(
        self,
        histories: Histories,
        item_tokens: np.ndarray,
        split: Split,
        window_items: int,
        context_items: int,
        opening: int,
        task: int,
        among: np.ndarray | None = None,
    ) -> None:
        self._items, self._item_tokens, self._opening, self._task = histories.items, item_tokens, opening, task
        self._wanted = np.zeros(len(histories.items), dtype=bool)
        self._wanted[histories.target_events(split)] = True
        if among is not None:
            self._wanted &= among
        found = [
            (offset + start, offset + first, offset + end)
            for offset, stop in itertools.pairwise(histories.offsets.tolist())
            for start, first, end in windows(self._wanted[offset:stop], window_items, context_items)
        ]
        self._windows = np.array(found, dtype=np.int64).reshape(-1, 3)  # rows of `items`

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._windows)

    def __getitem__(self, index: int) -> Example:
        """The window `index`."""
        start, first, end = self._windows[index]
        ids = np.concatenate([[self._opening], self._item_tokens[self._items[start:end]].ravel()]).astype(np.int64)
        learned = self._wanted[start:end].copy()
        learned[: first - start] = False
        labels = np.append(ids[1:], IGNORED)
        labels[:-1][~np.repeat(learned, self._item_tokens.shape[1])] = IGNORED
        # The last token predicts nothing, so it is not fed.
        return Example(ids[:-1], labels[:-1], self._task)
