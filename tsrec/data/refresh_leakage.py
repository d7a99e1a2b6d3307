"""Keeps events that the champion has learned from out of valid and test of a refresh, so that no target leaks.

Late rows, and rows that are gone, move the cuts between train, valid and test. Events that the earlier model was
trained on, or its gate fitted on, would then be held out. As targets they would flatter it, and what goes on from it.
"""

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.data.events import SPLITS, Events
from tsrec.data.ordering import split_rank
from tsrec.data.splitting import without_targets
from tsrec.errors import DataError

_VALID, _HISTORY = SPLITS.index(Split.VALID.value), np.int8(SPLITS.index(Split.HISTORY.value))
_EVENT = ["user", "item", "timestamp"]


def without_leaked_targets(
    events: Events, split: np.ndarray, user_ids: pd.Index, item_ids: pd.Index, earlier: pd.DataFrame
) -> np.ndarray:
    """(E,) int8: `split`, with history in place of valid and test where an event was used earlier than that before.

    That is: where it was train or history and is now valid or test, or was valid and is now test. Events are the same
    where user, item and time are.

    Args:
        events: in order of user and time.
        split: (E,) int8 of them.
        user_ids: (U,) ids by the events' user codes.
        item_ids: (N,) ids by the events' item codes.
        earlier: the `interactions` that the earlier model was made from.

    Raises:
        DataError: valid or test has no target left.
    """
    rank = split_rank(split)
    held_out = np.flatnonzero(rank >= split_rank(np.array(_VALID)))
    current = pd.DataFrame({name: getattr(events, name)[held_out] for name in _EVENT}).assign(row=held_out)
    previous = pd.DataFrame(
        {
            "user": user_ids.get_indexer(earlier[C.USER]).astype(np.int32),
            "item": item_ids.get_indexer(earlier[C.ITEM]).astype(np.int32),
            "timestamp": earlier[C.TIMESTAMP].to_numpy(),
            "previous_rank": split_rank(pd.Index(SPLITS).get_indexer(earlier[C.SPLIT])),
        }
    )
    # An event may stand there several times (ingest.duplicates=keep): the latest use counts.
    latest = current.merge(previous, on=_EVENT).groupby("row")["previous_rank"].max()
    rows = latest.index.to_numpy(dtype=np.int64)
    leaked = rows[latest.to_numpy() < rank[rows]]
    kept = split.copy()
    kept[leaked] = _HISTORY
    if len(leaked) and (missing := without_targets(events, kept)):
        raise DataError(
            f"no {' and no '.join(missing)} targets are left that the model to be refreshed has not learned from: late "
            "or removed rows moved the cut far back in time; give `tsrec run`, which starts anew, and `tsrec models "
            "promote`"
        )
    return kept
