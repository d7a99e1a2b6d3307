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
    """The items that can be recommended: `item_ids` (N,) object; `trained` (N,) int64, train events of each."""

    item_ids: np.ndarray
    trained: np.ndarray

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
    inputs changes; `section` picks its settings; `parents` names the stages that it is fitted on; `fit` learns and
    writes files (Parquet, JSON or safetensors) into a folder; `load` makes the member of that folder and its settings.
    A member that a refresh need not fit anew has `extending`: the settings of going on from its own artifact, with a
    field `whole` that holds its `section`.
    """

    name: str
    version: int
    config_type: type[Section]
    section: Callable[[Config], Section]
    fit: Callable[[FitInputs], None]
    load: Callable[[Path, Any], Member]
    parents: tuple[str, ...] = ("ingest",)
    extending: Callable[[Config], Section] | None = None


def read_catalogue(ingest: Artifact) -> tuple[Catalogue, Histories]:
    """The catalogue and all histories of an `ingest` artifact."""
    item_ids = ingest.frame("items", [C.ITEM])[C.ITEM]
    histories = build_histories(ingest.frame("interactions"), item_ids)
    return Catalogue(item_ids.to_numpy(dtype=object), histories.train_events_of(len(item_ids))), histories


def open_catalogue(ingest: Artifact, seen: Sequence[Split] = (Split.TRAIN,)) -> Catalogue:
    """The same catalogue, without the histories: interactions are counted batch by batch and never held.

    Events of all the splits `seen` count as train.
    """
    wanted = pa.array([split.value for split in seen])
    item_ids = ingest.frame("items", [C.ITEM])[C.ITEM]
    index, trained = pd.Index(item_ids), np.zeros(len(item_ids), dtype=np.int64)
    parquet = pq.ParquetFile(ingest.file("interactions.parquet"))
    for batch in parquet.iter_batches(_ROWS, columns=[C.ITEM, C.SPLIT]):
        of_train = pc.is_in(batch[C.SPLIT], value_set=wanted)
        items = batch[C.ITEM].filter(of_train).to_numpy(zero_copy_only=False)
        trained += np.bincount(index.get_indexer(items), minlength=len(trained))
    return Catalogue(item_ids.to_numpy(dtype=object), trained)


def recency_weights(pasts: Sequence[np.ndarray], last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last events of each history, flat: rows (E,), item numbers (E,) and recency (E,), 1 for the newest."""
    recent = [past[-last:] for past in pasts]
    lengths = np.array([len(part) for part in recent], dtype=np.int64)
    rows = np.repeat(np.arange(len(recent)), lengths)
    ends = np.cumsum(lengths)
    recency = np.repeat(ends, lengths) - np.arange(len(rows))
    items = np.concatenate([*recent, np.empty(0, dtype=np.int64)]).astype(np.int64)
    return rows, items, recency
