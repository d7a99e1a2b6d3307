"""Interactions as integer arrays: ten million of them fit in a few hundred megabytes."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.errors import DataError

SPLITS = tuple(split.value for split in Split)


@dataclass(frozen=True)
class Events:
    """(E,) arrays: user and item codes int32, timestamp int64, rating float32 (NaN where none), split int8 (an index
    into `SPLITS`, -1 where none)."""

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    rating: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: np.ndarray) -> Self:
        """The given rows (indices or a mask)."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """All parts, one after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


class EventReader:
    """Turns raw batches into events; numbers users as they come."""

    def __init__(self, item_ids: pd.Index, path: Path, needs_split: bool) -> None:
        self.item_ids, self.path, self.needs_split = item_ids, path, needs_split
        self.user_codes: dict[str, int] = {}
        self.n_rows = 0
        self.n_unknown_items = 0

    def read(self, batch: pd.DataFrame) -> Events:
        """One batch. Raises DataError naming the row of a timestamp, rating or split that cannot be read."""
        items = self.item_ids.get_indexer(batch[C.ITEM].astype(str)).astype(np.int32)
        codes, users = pd.factorize(batch[C.USER].astype(str))
        numbers = np.array([self.user_codes.setdefault(user, len(self.user_codes)) for user in users], dtype=np.int32)
        events = Events(
            user=numbers[codes],
            item=items,
            timestamp=self._timestamps(batch[C.TIMESTAMP]),
            rating=self._ratings(batch),
            split=self._splits(batch),
        )
        self.n_rows += len(batch)
        known = items >= 0
        self.n_unknown_items += int((~known).sum())
        return events.take(known)

    def user_ids(self) -> np.ndarray:
        """(U,) object: user ids by code."""
        return np.array(list(self.user_codes), dtype=object)

    def _timestamps(self, values: pd.Series) -> np.ndarray:
        numbers = pd.to_numeric(values, errors="coerce")
        missing = numbers.isna().to_numpy()
        result = numbers.fillna(0).to_numpy().astype(np.int64)
        if missing.any():
            dates = pd.to_datetime(values[missing], errors="coerce", utc=True, format="ISO8601")
            self._refuse(values[missing], dates.isna(), C.TIMESTAMP, "a number or an ISO date")
            result[missing] = dates.dt.as_unit("s").astype(np.int64).to_numpy()
        return result

    def _ratings(self, batch: pd.DataFrame) -> np.ndarray:
        if "rating" not in batch:
            return np.full(len(batch), np.nan, dtype=np.float32)
        return pd.to_numeric(batch["rating"], errors="coerce").to_numpy().astype(np.float32)

    def _splits(self, batch: pd.DataFrame) -> np.ndarray:
        if not self.needs_split:
            return np.full(len(batch), -1, dtype=np.int8)
        codes = pd.Index(SPLITS).get_indexer(batch[C.SPLIT].astype(str)).astype(np.int8)
        self._refuse(batch[C.SPLIT], pd.Series(codes < 0, index=batch.index), C.SPLIT, f"one of {', '.join(SPLITS)}")
        return codes

    def _refuse(self, values: pd.Series, bad: pd.Series, field: str, expected: str) -> None:
        if bad.any():
            place = int(np.flatnonzero(bad.to_numpy())[0])
            row = self.n_rows + int(values.index[place]) - int(values.index[0]) + 1 if len(values) else 0
            raise DataError(f"{self.path}: row {row}, field {field}: {values.iloc[place]!r} is not {expected}")
