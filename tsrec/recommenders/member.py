"""The interface of the family: a member is fitted on `train`, saved, opened from artifacts alone, and ranks items.

Inside the family items are row numbers of the `items` table; ids are spoken at the door (`recommender.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import Config, Section
from tsrec.histories import Histories, build_histories
from tsrec.recommenders.ranking import Filter, Ranked
from tsrec.store import Artifact

_ROWS = 65_536
_RECENT = 0.05  # share of the train events by which one counts a factor e less; chosen on valid


class Member(Protocol):
    """Anything that ranks items for histories."""

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """The best items that this member knows of, at most `k` for each of B histories; lists may be shorter.

        Args:
            pasts: B arrays of item numbers, oldest first; may be empty.
            k: length of the lists.
            allow: what may be shown.
        """
        ...


@dataclass(frozen=True)
class Catalogue:
    """The items that can be recommended: `item_ids` (N,) object; `trained` (N,) int64, train events of each; `recent`
    (N,) float64, the newest of them: one counts exp(-s / 0.05) where a share s of all are newer, for demand drifts."""

    item_ids: np.ndarray
    trained: np.ndarray
    recent: np.ndarray

    @classmethod
    def counted(cls, item_ids: np.ndarray, items: np.ndarray, times: np.ndarray) -> "Catalogue":
        """A catalogue whose train events are of the `items` (E,), row numbers, at the `times` (E,) int64."""
        _, moment, n_then = np.unique(times, return_inverse=True, return_counts=True)
        newer = 1 - np.cumsum(n_then) / max(len(times), 1)  # share of all events that are newer than each moment
        weights = np.exp(-newer / _RECENT)[moment]
        trained = np.bincount(items, minlength=len(item_ids)).astype(np.int64)
        return cls(item_ids, trained, np.bincount(items, weights, minlength=len(item_ids)))

    def seeing(self, histories: Histories) -> "Catalogue":
        """The same items, with the train events of some histories."""
        return self.counted(self.item_ids, *histories.train_events())

    def popularity(self, *, recent: bool = True) -> np.ndarray:
        """(N, 2) float32: log(1 + train events) / 4, and the same of `recent`; 0 where nothing is to be learned
        from it, and a gate that is fitted so gives it no weight."""
        counts = np.stack([self.trained, self.recent if recent else np.zeros_like(self.recent)], axis=1)
        return np.log1p(counts).astype(np.float32) / 4

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    def by_popularity(self) -> np.ndarray:
        """(N,) item numbers, the most train events first; ties go to the lower number."""
        return np.argsort(-self.trained, kind="stable")


@dataclass(frozen=True)
class FitInputs:
    """What a member is fitted on: `parents` are the artifacts of its stages (and of those that it goes on from, in a
    refresh), `work` a folder that outlives a kill, `folder` where it saves itself."""

    histories: Histories
    catalogue: Catalogue
    config: Any
    parents: Mapping[str, Artifact]
    work: Path
    folder: Path


@dataclass(frozen=True)
class MemberKind:
    """One entry of the family.

    `name` is the method in `metrics`, and the stage that fits it; `version` is raised when its result for the same
    inputs changes; `fit` learns and writes files (Parquet, JSON or safetensors) into a folder; `load` makes the member
    of that folder and its settings; `parents` names the stages that it is fitted on; `section` picks its settings, of
    the type `config_type`, where it has any. Where a member `goes_on`, a refresh hands `fit` its earlier artifact.
    """

    name: str
    version: int
    fit: Callable[[FitInputs], None]
    load: Callable[[Path, Any], Member]
    parents: tuple[str, ...] = ("ingest",)
    config_type: type[Section] = Section
    section: Callable[[Config], Section] = lambda _: Section()
    goes_on: bool = False


def read_catalogue(ingest: Artifact) -> tuple[Catalogue, Histories]:
    """The catalogue and all histories of an `ingest` artifact."""
    item_ids = ingest.frame("items", [C.ITEM])[C.ITEM]
    histories = build_histories(ingest.frame("interactions"), item_ids)
    return Catalogue.counted(item_ids.to_numpy(dtype=object), *histories.train_events()), histories


def open_catalogue(ingest: Artifact, seen: Sequence[Split] = (Split.TRAIN,)) -> Catalogue:
    """The same catalogue, without the histories: of all interactions, train events' items and times alone are held.

    Events of all the splits `seen` count as train.
    """
    wanted = pa.array([split.value for split in seen])
    item_ids = ingest.frame("items", [C.ITEM])[C.ITEM]
    index, items, times = pd.Index(item_ids), [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    parquet = pq.ParquetFile(ingest.file("interactions.parquet"))
    for batch in parquet.iter_batches(_ROWS, columns=[C.ITEM, C.TIMESTAMP, C.SPLIT]):
        train = batch.filter(pc.is_in(batch[C.SPLIT], value_set=wanted))
        items.append(index.get_indexer(train[C.ITEM].to_numpy(zero_copy_only=False)).astype(np.int32))
        times.append(train[C.TIMESTAMP].to_numpy())
    return Catalogue.counted(item_ids.to_numpy(dtype=object), np.concatenate(items), np.concatenate(times))


def recency_weights(pasts: Sequence[np.ndarray], last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last events of each history, flat: rows (E,), item numbers (E,) and recency (E,), 1 for the newest."""
    recent = [past[-last:] for past in pasts]
    lengths = np.array([len(part) for part in recent], dtype=np.int64)
    rows = np.repeat(np.arange(len(recent)), lengths)
    ends = np.cumsum(lengths)
    recency = np.repeat(ends, lengths) - np.arange(len(rows))
    items = np.concatenate([*recent, np.empty(0, dtype=np.int64)]).astype(np.int64)
    return rows, items, recency
