"""Packed histories: one sequence per user, [BOS] then every item's SID tokens, a loss on every item after the first.

One row per user instead of one per target: about 28 times fewer tokens for the same targets. Long histories are cut
into windows that repeat a few items, without loss, as context.
"""

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


def history_examples(
    histories: Histories,
    item_tokens: np.ndarray,
    split: Split,
    window_items: int,
    context_items: int,
    bos_id: int,
    task: int,
) -> list[Example]:
    """All users' histories as examples with a loss on the targets of `split`.

    Args:
        item_tokens: (n_items, L) int64, the token ids of every item's SID.
        context_items: see `windows`.
    """
    n_levels = item_tokens.shape[1]
    wanted = np.zeros(len(histories.items), dtype=bool)
    wanted[histories.target_events(split)] = True
    examples = []
    for user in range(histories.n_users):
        place = slice(histories.offsets[user], histories.offsets[user + 1])
        items, is_target = histories.items[place], wanted[place]
        for start, first, end in windows(is_target, window_items, context_items):
            ids = np.concatenate([[bos_id], item_tokens[items[start:end]].ravel()]).astype(np.int64)
            learned = is_target[start:end].copy()
            learned[: first - start] = False
            labels = np.append(ids[1:], IGNORED)
            labels[:-1][~np.repeat(learned, n_levels)] = IGNORED
            # The last token predicts nothing, so it is not fed.
            examples.append(Example(ids[:-1], labels[:-1], task))
    return examples
