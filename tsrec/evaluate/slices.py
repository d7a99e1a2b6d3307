"""Which targets belong to which slice: by length of history, by popularity of the target, cold items."""

import numpy as np

from tsrec.columns import Split
from tsrec.histories import Histories

_LENGTHS = ((1, 2), (3, 5), (6, 10), (11, None))
_HEAD_SHARE = 0.2  # the most popular fifth of items that have train events


def slices_of(histories: Histories, events: np.ndarray, n_items: int) -> dict[str, np.ndarray]:
    """Slice name -> (T,) bool over the target events."""
    lengths, targets = histories.positions()[events], histories.items[events]
    trained = np.bincount(histories.items[histories.splits == Split.TRAIN.value], minlength=n_items)
    counts = trained[targets]
    head = np.quantile(trained[trained > 0], 1 - _HEAD_SHARE) if (trained > 0).any() else 0
    slices = {"all": np.ones(len(events), dtype=bool)}
    for low, high in _LENGTHS:
        name = f"history {low}-{high}" if high else f"history {low}+"
        slices[name] = (lengths >= low) & ((lengths <= high) if high else True)
    slices["popular items"] = (counts > 0) & (counts >= head)
    slices["tail items"] = (counts > 0) & (counts < head)
    slices["cold items"] = counts == 0
    return slices
