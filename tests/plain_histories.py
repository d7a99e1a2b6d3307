"""The plain reference of `read_histories`: the whole table in memory, in any order of rows."""

import numpy as np
import pandas as pd

from tsrec.columns import Columns
from tsrec.histories import Histories


def build_histories(interactions: pd.DataFrame, item_ids: pd.Series) -> Histories:
    """The arrays of an `interactions` table; `item_ids` are the ids of the items table, in its order."""
    ordered = interactions.sort_values([Columns.USER, Columns.POSITION], kind="stable")
    index = pd.Index(item_ids).get_indexer(ordered[Columns.ITEM])
    assert (index >= 0).all()
    user_ids, starts = np.unique(ordered[Columns.USER].to_numpy(dtype=object), return_index=True)
    return Histories(
        user_ids=user_ids,
        offsets=np.append(starts, len(ordered)).astype(np.int64),
        items=index.astype(np.int32),
        splits=ordered[Columns.SPLIT].to_numpy(dtype=object),
        times=ordered[Columns.TIMESTAMP].to_numpy(dtype=np.int64),
    )
