"""Finds the items that an earlier table has with the same content, so that what was made of them can be reused."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C


def unchanged_rows(items: pd.DataFrame, earlier: pd.DataFrame, fields: Sequence[str]) -> np.ndarray:
    """(N,) int64: the row in `earlier` of every row of `items` with the same id and the same `fields`, else -1.

    Both have a column item_id, in which no id stands twice, and `fields`.
    """
    place = pd.Index(earlier[C.ITEM]).get_indexer(items[C.ITEM])
    same = place >= 0
    for field in fields:
        same &= items[field].to_numpy() == earlier[field].to_numpy()[np.maximum(place, 0)] if len(earlier) else False
    return np.where(same, place, -1).astype(np.int64)
