"""Interactions as integer arrays: fifty million of them fit in 800 MB."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.data.event_types import EventTypeFilter, as_numbers
from tsrec.data.files import Batch, Tally
from tsrec.data.format_hints import likely_time_formats
from tsrec.data.growing_array import GrowingArray
from tsrec.data.ids import has_lost_digits, ids_as_text, invalid_ids
from tsrec.data.missing_values import is_missing_value
from tsrec.data.nested import dotted_names
from tsrec.data.timestamps import Clock, GrowingTimes, parse_order, parse_times, to_common_unit
from tsrec.data.truncated_files import TruncatedTimeDetector
from tsrec.errors import DataError

SPLITS = tuple(split.value for split in Split)
_NEEDED = {C.USER: "user", C.ITEM: "item", C.TIMESTAMP: "time", C.ORDER: "order"}  # the last where it is mapped
_SAMPLE = 1000  # values that are looked through for lists and objects
_EXAMPLES = 1000  # unknown ids that are kept, to see why they are unknown
_NUMBER_EVERY = 16  # batches; until users are numbered, each batch holds the ids of its own


@dataclass(frozen=True)
class Events:
    """(E,) arrays: user and item codes int32, timestamp int64; where they are needed, rating float32 (NaN where none),
    split int8 (an index into `SPLITS`), and order int64, of a user's events of one time."""

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    rating: np.ndarray | None = None
    split: np.ndarray | None = None
    order: np.ndarray | None = None

    def __len__(self) -> int:
        """E, the number of events."""
        return len(self.user)

    def take(self, rows: np.ndarray) -> Self:
        """The given rows (indices or a mask); no copy where a mask takes all."""
        if rows.dtype == bool and rows.all():
            return self
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: column[rows] for name, column in columns.items() if column is not None})


class EventReader:
    """Turns raw batches into events; numbers users as they come, and counts what it skips."""

    def __init__(self, item_ids: pd.Index, needs_rating: bool, needs_split: bool) -> None:
        self.item_ids = item_ids
        self.needs_rating, self.needs_split = needs_rating, needs_split
        self.n_rows = 0  # but for those that were left out
        self.event_types: EventTypeFilter | None = None
        self.n_left_out = 0  # by `ingest.keep`
        self.incomplete = {what: Tally() for what in _NEEDED.values()}  # rows that lack it, and nothing before it
        self.n_unknown_items = 0
        self.n_ids_escaped = 0
        self.n_rounded = 0  # rows with an id or time whose last digits are lost
        self.rounded_example = ""
        self.unknown_items = pd.Index([], dtype="str")  # the first different ones
        self._user_ids = pa.array([], pa.string())  # by their numbers
        self._users: list[pa.DictionaryArray] = []  # of batches whose users are yet to be numbered
        self._columns = {"user": GrowingArray(np.int32), "item": GrowingArray(np.int32)}
        self._columns |= {"rating": GrowingArray(np.float32)} if needs_rating else {}
        self._columns |= {"split": GrowingArray(np.int8)} if needs_split else {}
        self._times = GrowingTimes()
        self._orders: GrowingTimes | None = None
        self._time_truncation = TruncatedTimeDetector()

    def read(self, raw: Batch) -> None:
        """Take in one batch; rows without a user, item or time and events of unknown items are skipped and counted.

        Raises:
            DataError: a needed column is missing, or a value cannot be read; names its row and field.
        """
        if raw.first_row == 1:
            self._time_truncation = TruncatedTimeDetector()
        self._path = raw.path
        self.event_types, self.n_left_out = raw.event_types, self.n_left_out + raw.n_left_out
        if raw.rows.empty:
            return
        self.n_rows += len(raw.rows)
        batch = replace(raw, rows=self._complete(raw))
        item_ids, user_ids, raw_times = self._ids(batch, C.ITEM), self._ids(batch, C.USER), batch.rows[C.TIMESTAMP]
        items = self.item_ids.get_indexer(item_ids).astype(np.int32)
        self._count_rounded(batch, item_ids, user_ids, raw_times)
        times, bad = parse_times(raw_times)
        batch.refuse(raw_times, bad, "a number or an ISO date", hint=_time_hint)
        if self._time_truncation.is_cut(raw_times):
            batch.refuse(raw_times, np.arange(len(raw_times)) == len(raw_times) - 1, "as long as all others: cut off")
        known = items >= 0
        if not known.all():
            self.n_unknown_items += int((~known).sum())
            self.unknown_items = self.unknown_items.append(pd.Index(item_ids[~known])).unique()[:_EXAMPLES]
        self._users.append(pa.array(user_ids, pa.string()).dictionary_encode().filter(pa.array(known)))
        if len(self._users) == _NUMBER_EVERY:
            self._number_users()
        self._columns["item"].append(items[known])
        if self.needs_rating:
            self._columns["rating"].append(self._ratings(batch)[known])
        if self.needs_split:
            self._columns["split"].append(self._splits(batch)[known])
        self._times.append(times.take(known))
        if C.ORDER in batch.rows:
            order, bad = parse_order(batch.rows[C.ORDER])
            batch.refuse(batch.rows[C.ORDER], bad, "a number, an ISO date or a time of day", hint=_decimal_hint)
            self._orders = self._orders or GrowingTimes()
            self._orders.append(order.take(known))

    def events(self) -> tuple[Events, pd.Index, Clock, dict[str, int | str]]:
        """All events, in raw order, with their times in one unit; the (U,) ids of users by their codes; what that unit
        is, and what was counted. Asked for once: the reader keeps none of them.

        Raises:
            DataError: times of different units stand side by side.
        """
        timestamp, clock, counts = self._in_common_unit(C.TIMESTAMP, self._times)
        order = self._in_common_unit(C.ORDER, self._orders)[0] if self._orders else None
        self._number_users()
        columns = {name: column.values() for name, column in self._columns.items()}
        user_ids = pd.Index(self._user_ids.to_pandas())
        del self._times, self._orders, self._columns, self._user_ids
        return Events(timestamp=timestamp, order=order, **columns), user_ids, clock, counts

    def _number_users(self) -> None:
        """Give new users the next numbers; earlier ones keep theirs."""
        earlier = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), self._user_ids)
        _, *parts = pa.chunked_array([earlier, *self._users]).unify_dictionaries().chunks
        for part in parts:
            self._columns["user"].append(part.indices.to_numpy())
            self._user_ids = part.dictionary
        self._users.clear()
        pa.default_memory_pool().release_unused()  # else Arrow keeps what raw rows took

    def _in_common_unit(self, field: str, times: GrowingTimes) -> tuple[np.ndarray, Clock, dict[str, int | str]]:
        try:
            return to_common_unit(times.times())
        except DataError as error:
            raise DataError(f"{self._path}: field {field}: {error}") from None

    def _complete(self, batch: Batch) -> pd.DataFrame:
        """The rows that have a user, an item and a time."""
        lacks = np.zeros(len(batch.rows), dtype=bool)
        for field, what in _NEEDED.items():
            if field in batch.rows or field != C.ORDER:
                found = is_missing_value(batch.rows[field]) & ~lacks
                self.incomplete[what].add(batch, batch.rows[field], found)
                lacks |= found
        return batch.rows[~lacks] if lacks.any() else batch.rows

    def _count_rounded(self, batch: Batch, *columns: pd.Series) -> None:
        found = [has_lost_digits(values) for values in columns]
        self.n_rounded += int(np.logical_or.reduce(found).sum())
        for values, rounded in zip(columns, found, strict=True):
            first = Tally()
            first.add(batch, values, rounded)
            self.rounded_example = self.rounded_example or (first.example and f"{first.example}, field {values.name}")

    def _ids(self, batch: Batch, field: str) -> pd.Series:
        values = batch.rows[field]
        batch.refuse(values, invalid_ids(values), "an id", hint=_list_hint)
        ids, n_escaped = ids_as_text(values, batch.path)
        self.n_ids_escaped += n_escaped
        return ids

    def _ratings(self, batch: Batch) -> np.ndarray:
        values = _column(batch, C.RATING, "ingest.min_rating")
        ratings = as_numbers(values)
        batch.refuse(values, ratings.isna().to_numpy() & ~is_missing_value(values), "a number", hint=_decimal_hint)
        return ratings.to_numpy().astype(np.float32)

    def _splits(self, batch: Batch) -> np.ndarray:
        values = _column(batch, C.SPLIT, "ingest.split=column")
        codes = pd.Index(SPLITS).get_indexer(values.astype(str)).astype(np.int8)
        batch.refuse(values, codes < 0, f"one of {', '.join(SPLITS)}")
        return codes


def _column(batch: Batch, field: str, wanted_by: str) -> pd.Series:
    if field not in batch.rows:
        raise DataError(f"{batch.path}: no column {field}, which {wanted_by} needs")
    return batch.rows[field]


def _list_hint(ids: pd.Series) -> str:
    names = ", ".join(dotted_names(ids[:_SAMPLE].to_frame("COLUMN")))
    if names:
        return f"; map what that column holds by dotted names: {names}"
    return "; write a row for each event" if any(isinstance(value, list) for value in ids[:_SAMPLE]) else ""


def _decimal_hint(numbers: pd.Series) -> str:
    has_commas = numbers.astype(str).str.fullmatch(r"\s*[+-]?\d*(\.\d{3})*,\d+([eE][+-]?\d+)?\s*").any()
    return "; set ingest.interactions_format.decimal=',' where a comma is the decimal mark" if has_commas else ""


def _time_hint(times: pd.Series) -> str:
    if hint := _list_hint(times) or _decimal_hint(times):
        return hint
    formats = likely_time_formats(times)
    return f"; set ingest.time_format={' or '.join(map(repr, formats))}" if formats else ""
