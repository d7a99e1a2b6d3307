"""Interactions as arrays: one run of item indices per user, in order of time.

The border between the `interactions` table and everything that learns from it or scores on it. Knows nothing of
SIDs or models. What counts as a target, and what as its history, is defined here: see `target_events` and
`history_of`. Code that lays out many targets at once (`finetune/sequences.py`, `recommenders/sasrec.py`) asks
`target_events`, and slices `items` itself by the rule of `history_of`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsrec.columns import Columns, Split
from tsrec.errors import ArtifactError
from tsrec.store import Artifact
from tsrec.store.parquet_file import open_parquet

_ROWS = 65_536  # of the table at once


@dataclass(frozen=True)
class Histories:
    """All users' events, concatenated user by user, each user's in order of `position`.

    `user_ids` (U,) object; `offsets` (U + 1,) int64: user u's events are rows offsets[u]:offsets[u + 1] of
    `items` (E,) int32, row numbers of the items table; `splits` (E,) object, values of `Split`; `times` (E,) int64.
    """

    user_ids: np.ndarray
    offsets: np.ndarray
    items: np.ndarray
    splits: np.ndarray
    times: np.ndarray

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    def positions(self) -> np.ndarray:
        """(E,) int64: every event's place within its user, from 0."""
        lengths = np.diff(self.offsets)
        return np.arange(len(self.items)) - np.repeat(self.offsets[:-1], lengths)

    def users(self) -> np.ndarray:
        """(E,) int64: every event's user index."""
        return np.repeat(np.arange(self.n_users), np.diff(self.offsets))

    def train_events(self) -> tuple[np.ndarray, np.ndarray]:
        """(E,) int32 and (E,) int64: items and times of all train events."""
        is_train = self.splits == Split.TRAIN.value
        return self.items[is_train], self.times[is_train]

    def n_train_events_by_item(self, n_items: int) -> np.ndarray:
        """(N,) int64: the number of train events of each of the `n_items` items."""
        counts = np.bincount(self.train_events()[0], minlength=n_items)
        return counts.astype(np.int64)

    def is_split_by_time(self) -> bool:
        """Whether most targets of valid come after nearly all train events, as those to be served will; where the last
        events of every user are held out instead, they lie amid other users' train events."""
        valid, (_, train) = self.times[self.target_events(Split.VALID)], self.train_events()
        return bool(len(valid) and len(train) and np.median(valid) >= np.quantile(train, 0.95))

    def target_events(self, split: Split) -> np.ndarray:
        """(T,) int64: event rows that are targets of `split`: events of that split that have an earlier event."""
        return np.flatnonzero((self.splits == split.value) & (self.positions() > 0))

    def history_of(self, event: int, max_items: int | None = None) -> np.ndarray:
        """(H,) int32: items before `event` of the same user, oldest first, the last `max_items` of them."""
        user = int(np.searchsorted(self.offsets, event, side="right")) - 1
        start = int(self.offsets[user])
        return self.items[max(start, event - max_items) if max_items else start : event]


def read_histories(ingest: Artifact, item_ids: pd.Series | None = None) -> Histories:
    """All events of an `ingest` artifact, read in blocks: some 20 bytes of memory an event.

    Args:
        ingest: the artifact.
        item_ids: the ids of its `items`, from whoever has read them; None: they are read.

    Raises:
        ArtifactError: the interactions are not in order of users and positions, or name an item that `items` lacks.
    """
    interactions = ingest.file("interactions.parquet")
    item_ids = ingest.frame("items", [Columns.ITEM])[Columns.ITEM] if item_ids is None else item_ids
    index, user_ids = pd.Index(item_ids), list[str]()
    starts, items, splits, times = [], [np.empty(0, np.int32)], [np.empty(0, object)], [np.empty(0, np.int64)]
    n_events, last = 0, ("", -1)  # the user and the position of the event before the block
    columns = [Columns.USER, Columns.ITEM, Columns.TIMESTAMP, Columns.POSITION, Columns.SPLIT]
    for batch in open_parquet(interactions).iter_batches(_ROWS, columns=columns):
        users = np.append(last[0], batch[Columns.USER].to_numpy(zero_copy_only=False))
        positions = np.append(last[1], batch[Columns.POSITION].to_numpy())
        is_new = users[1:] != users[:-1]
        if (users[1:] < users[:-1]).any() or (~is_new & (positions[1:] <= positions[:-1])).any():
            raise ArtifactError(f"{interactions}: interactions are not in order of users; run ingest again")
        first = np.flatnonzero(is_new)
        user_ids += users[1:][first].tolist()
        starts.append(n_events + first)
        items.append(index.get_indexer(batch[Columns.ITEM].to_numpy(zero_copy_only=False)).astype(np.int32))
        names = batch[Columns.SPLIT].dictionary_encode()  # so that equal names are one string in memory
        splits.append(np.array(names.dictionary.to_pylist(), dtype=object)[names.indices.to_numpy()])
        times.append(batch[Columns.TIMESTAMP].to_numpy().astype(np.int64))
        n_events, last = n_events + batch.num_rows, (users[-1], positions[-1])
    found = Histories(
        np.array(user_ids, dtype=object),
        np.concatenate([*starts, [n_events]]).astype(np.int64),
        np.concatenate(items),
        np.concatenate(splits),
        np.concatenate(times),
    )
    if (found.items < 0).any():
        raise ArtifactError(f"{interactions}: interactions name items that the items table lacks; run ingest again")
    return found
