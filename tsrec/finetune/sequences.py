"""Packed histories: one sequence per user, [BOS] then every item's tokens, a loss on every item after the first.

One row per user instead of one per target: about 28 times fewer tokens for the same targets. Long histories are cut
into windows that repeat a few items, without loss, as context.

The target of an event may be another item than the one that the sequence shows (see `distilling`). Its first token is
then learned in place of the shown item's. Its other tokens stand on a branch of their own, L - 1 tokens long.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from tsrec.columns import Split
from tsrec.histories import Histories
from tsrec.sid.tokens import HistoryTokens
from tsrec.training.packing import IGNORED, Example


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
        histories: of all users.
        tokens: how items are written.
        split: whose targets are learned.
        window_items, context_items: see `windows`.
        task: index of the task.
        among: (E,) bool, the events that may be learned; None: all.
    """

    def __init__(
        self,
        histories: Histories,
        tokens: HistoryTokens,
        split: Split,
        window_items: int,
        context_items: int,
        task: int,
        among: np.ndarray | None = None,
    ) -> None:
        self.items, self._tokens, self._task = histories.items, tokens, task
        self._is_target = np.zeros(len(histories.items), dtype=bool)
        self._is_target[histories.target_events(split)] = True
        if among is not None:
            self._is_target &= among
        bounds = [
            (offset + start, offset + first, offset + end)
            for offset, stop in itertools.pairwise(histories.offsets.tolist())
            for start, first, end in windows(self._is_target[offset:stop], window_items, context_items)
        ]
        self._windows = np.array(bounds, dtype=np.int64).reshape(-1, 3)  # start, first target, end

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._windows)

    def __getitem__(self, index: int) -> Example:
        """The window `index`."""
        events, learned = self.window(index)
        items = self.items[events]
        return self.encode(items, items, learned)

    def window(self, index: int) -> tuple[slice, np.ndarray]:
        """The window `index`: the rows of the histories that are its H events; and (H,) bool, which are learned."""
        start, first, end = map(int, self._windows[index])
        learned = self._is_target[start:end].copy()
        learned[: first - start] = False
        return slice(start, end), learned

    def encode(
        self, shown: np.ndarray, targets: np.ndarray, learned: np.ndarray, tasks: np.ndarray | None = None
    ) -> Example:
        """The sequence that shows the items `shown` (H,), with a loss on `targets` (H,) where `learned` (H,) is true.

        `tasks` (H,) are those that the losses count for; None: the histories' own.
        """
        target_tokens, n_levels = self._tokens.sids[targets], self._tokens.n_levels  # (H, L)
        ids = self._tokens.prompt(shown)[:-1]  # what follows the last token predicts nothing
        labels = np.full((len(shown), n_levels), IGNORED, dtype=np.int64)
        labels[learned] = target_tokens[learned]
        task = self._task if tasks is None else np.repeat(tasks, n_levels)
        # Where the target is another item than the one shown, its first token is learned on the trunk. Its other tokens
        # are a branch, whose first one stands beside the shown item's first: at position 1 + row * L, after [BOS].
        branching = np.flatnonzero(learned & (shown != targets))
        if not len(branching) or n_levels == 1:
            return Example(ids, labels.ravel(), task)
        labels[branching, 1:] = IGNORED
        n_more = n_levels - 1
        return Example(
            np.concatenate([ids, target_tokens[branching, :-1].ravel()]),
            np.concatenate([labels.ravel(), target_tokens[branching, 1:].ravel()]),
            task if tasks is None else np.concatenate([task, np.repeat(tasks[branching], n_more)]),
            forks=np.concatenate([np.zeros_like(ids), np.repeat(1 + branching * n_levels, n_more)]),
        )
