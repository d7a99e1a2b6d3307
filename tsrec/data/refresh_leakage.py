"""Keeps events that the champion has learned from out of valid and test of a refresh, so that no target leaks.

Late rows, and rows that are gone, move the cuts between train, valid and test. Events that the earlier model was
trained on, or its gate fitted on, would then be held out. As targets they would flatter it, and what goes on from it.
"""

from collections.abc import Iterable

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
    events: Events, split: np.ndarray, user_ids: pd.Index, item_ids: pd.Index, earlier: Iterable[pd.DataFrame]
) -> np.ndarray:
    """(E,) int8: `split`, with history in place of valid and test where an event was used earlier than that before.

    That is: where it was train or history and is now valid or test, or was valid and is now test. Events are the same
    where user, item and time are.

    Args:
        events: in order of user and time.
        split: (E,) int8 of them.
        user_ids: (U,) ids by the events' user codes.
        item_ids: (N,) ids by the events' item codes.
        earlier: the `interactions` that the earlier model was made from, in parts; each of few users, so that it meets
            few events.

    Raises:
        DataError: valid or test has no target left.
    """
    rank = split_rank(split)
    held_out = np.flatnonzero(rank >= split_rank(np.array(_VALID)))
    latest = np.full(len(held_out), -1, dtype=np.int8)  # the latest use before; -1: none
    for part in earlier:
        previous = pd.DataFrame(
            {
                "user": user_ids.get_indexer(part[C.USER]).astype(np.int32),
                "item": item_ids.get_indexer(part[C.ITEM]).astype(np.int32),
                "timestamp": part[C.TIMESTAMP].to_numpy(),
                "previous_rank": split_rank(pd.Index(SPLITS).get_indexer(part[C.SPLIT])),
            }
        )
        previous = previous[previous["user"] >= 0]
        ends = [previous["user"].min(), previous["user"].max() + 1] if len(previous) else [0, 0]
        first, stop = np.searchsorted(events.user[held_out], ends)
        rows = held_out[first:stop]
        current = pd.DataFrame({name: getattr(events, name)[rows] for name in _EVENT}).assign(place=range(first, stop))
        # An event may stand there several times (ingest.duplicates=keep): the latest use counts.
        found = current.merge(previous, on=_EVENT).groupby("place")["previous_rank"].max()
        latest[found.index] = np.maximum(latest[found.index], found.to_numpy())
    leaked = held_out[(latest >= 0) & (latest < rank[held_out])]
    kept = split.copy()
    kept[leaked] = _HISTORY
    if len(leaked) and (missing := without_targets(events, kept)):
        raise DataError(
            f"no {' and no '.join(missing)} targets are left that the model to be refreshed has not learned from: late "
            "or removed rows moved the cut far back in time; give `tsrec run`, which starts anew, and `tsrec models "
            "promote`"
        )
    return kept
