"""The items that can be recommended, and how popular each is: all its train events, and the newest of them.

Items are row numbers of the `items` table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.histories import Histories, read_histories
from tsrec.store import Artifact
from tsrec.store.parquet_file import open_parquet

_ROWS = 65_536
_RECENT = 0.05  # share of the train events by which one counts a factor e less; chosen on valid


@dataclass(frozen=True)
class Catalogue:
    """The N items that can be recommended.

    `item_ids` (N,) object; `train_counts` (N,) int64: train events of each item; `recent_counts` (N,) float64: the same
    with old events weighted down, for demand drifts. An event weighs exp(-s / 0.05), where s is the share of all train
    events that are newer.
    """

    item_ids: np.ndarray
    train_counts: np.ndarray
    recent_counts: np.ndarray

    @classmethod
    def from_events(cls, item_ids: np.ndarray, items: np.ndarray, times: np.ndarray) -> "Catalogue":
        """Count E train events: their `items` (E,) as row numbers, and their `times` (E,) int64."""
        _, time_index, n_at_time = np.unique(times, return_inverse=True, return_counts=True)
        share_newer = 1 - np.cumsum(n_at_time) / max(len(times), 1)  # of all events, for each distinct time
        weights = np.exp(-share_newer / _RECENT)[time_index]
        train_counts = np.bincount(items, minlength=len(item_ids)).astype(np.int64)
        return cls(item_ids, train_counts, np.bincount(items, weights, minlength=len(item_ids)))

    def with_train_events_of(self, histories: Histories) -> "Catalogue":
        """The same items, counted on the train events of other histories."""
        return self.from_events(self.item_ids, *histories.train_events())

    def popularity(self, *, recent: bool = True) -> np.ndarray:
        """(N, 2) float32: log(1 + count) / 4 of `train_counts` and of `recent_counts`.

        Without `recent` the second column is 0, and a gate that is fitted on it gives it no weight.
        """
        recent_counts = self.recent_counts if recent else np.zeros_like(self.recent_counts)
        counts = np.stack([self.train_counts, recent_counts], axis=1)
        return np.log1p(counts).astype(np.float32) / 4

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    def by_popularity(self) -> np.ndarray:
        """(N,) item numbers, the most train events first; ties go to the lower number."""
        return np.argsort(-self.train_counts, kind="stable")


def read_catalogue(ingest: Artifact) -> tuple[Catalogue, Histories]:
    """The catalogue and all histories of an `ingest` artifact."""
    item_ids = ingest.frame("items", [C.ITEM])[C.ITEM]
    histories = read_histories(ingest, item_ids)
    return Catalogue.from_events(item_ids.to_numpy(dtype=object), *histories.train_events()), histories


def read_catalogue_as_train(ingest: Artifact, train_splits: Sequence[Split]) -> tuple[Catalogue, Histories]:
    """The catalogue and histories of an `ingest` artifact, with all events of `train_splits` relabelled as train.

    A context event (`Split.HISTORY`) stays context where its user has an earlier event outside `train_splits`. Learning
    from it would give away that earlier event.
    """
    catalogue, histories = read_catalogue(ingest)
    in_train = np.isin(histories.splits, [split.value for split in train_splits])
    n_held_out: np.ndarray = np.cumsum(~in_train) - ~in_train  # held-out events before each event, of all users
    is_after_held_out: np.ndarray = n_held_out > n_held_out[histories.offsets[histories.users()]]  # of the same user
    in_train &= ~((histories.splits == Split.HISTORY.value) & is_after_held_out)
    relabelled = replace(histories, splits=np.where(in_train, Split.TRAIN.value, histories.splits))
    return catalogue.with_train_events_of(relabelled), relabelled


def open_catalogue(ingest: Artifact, train_splits: Sequence[Split] = (Split.TRAIN,)) -> Catalogue:
    """The same catalogue without the histories: memory holds the items and times of train events alone.

    Events of every split in `train_splits` count as train.
    """
    split_names = pa.array([split.value for split in train_splits])
    item_ids = ingest.frame("items", [C.ITEM])[C.ITEM]
    index, items, times = pd.Index(item_ids), [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    parquet = open_parquet(ingest.file("interactions.parquet"))
    for batch in parquet.iter_batches(_ROWS, columns=[C.ITEM, C.TIMESTAMP, C.SPLIT]):
        train = batch.filter(pc.is_in(batch[C.SPLIT], value_set=split_names))
        items.append(index.get_indexer(train[C.ITEM].to_numpy(zero_copy_only=False)).astype(np.int32))
        times.append(train[C.TIMESTAMP].to_numpy())
    return Catalogue.from_events(item_ids.to_numpy(dtype=object), np.concatenate(items), np.concatenate(times))
