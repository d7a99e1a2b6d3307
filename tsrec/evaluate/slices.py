"""Which targets belong to which slice: by length of history, by popularity of the target, by whether it repeats."""

import numpy as np

from tsrec.columns import ALL
from tsrec.histories import Histories

_LENGTHS = ((1, 2), (3, 5), (6, 10), (11, None))
_HEAD_SHARE, _TAIL_SHARE = 0.2, 0.5  # of the items that have train events, by their number of train events


def target_slices(histories: Histories, events: np.ndarray, n_items: int) -> dict[str, np.ndarray]:
    """Slice name -> (T,) bool over the target events.

    Head items are the most popular fifth of those with train events, tail items the less popular half, mid items the
    rest; items with equal counts are in the same slice. Cold items have no train event. A repeat is a target that the
    user's history already holds.
    """
    lengths, targets = histories.positions()[events], histories.items[events]
    slices = {ALL: np.ones(len(events), dtype=bool)}
    for low, high in _LENGTHS:
        name = f"history {low}-{high}" if high else f"history {low}+"
        slices[name] = (lengths >= low) & ((lengths <= high) if high else True)
    trained = histories.n_train_events_by_item(n_items)
    warm, counts = trained[trained > 0], trained[targets]
    head, tail = np.quantile(warm, [1 - _HEAD_SHARE, _TAIL_SHARE]) if len(warm) else (1, 0)
    in_head = (counts > 0) & (counts >= head)
    in_tail = (counts > 0) & (counts <= tail) & ~in_head
    slices["head items"] = in_head
    slices["mid items"] = (counts > 0) & ~in_head & ~in_tail
    slices["tail items"] = in_tail
    slices["cold items"] = counts == 0
    slices["repeats"] = _is_repeat(histories, n_items)[events]
    slices["new to the user"] = ~slices["repeats"]
    return slices


def _is_repeat(histories: Histories, n_items: int) -> np.ndarray:
    """(E,) bool: whether the user has had the item of this event before."""
    pairs = histories.users() * n_items + histories.items
    order = np.argsort(pairs, kind="stable")  # a user's events with one item together, in their order
    is_repeat = np.zeros(len(pairs), dtype=bool)
    is_repeat[order[1:]] = pairs[order[1:]] == pairs[order[:-1]]
    return is_repeat
