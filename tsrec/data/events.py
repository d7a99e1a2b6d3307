"""Interactions as integer arrays: ten million of them fit in a few hundred megabytes."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.data.event_types import EventTypeFilter, as_numbers
from tsrec.data.files import Batch
from tsrec.data.format_hints import likely_time_formats
from tsrec.data.ids import has_lost_digits, ids_as_text, invalid_ids
from tsrec.data.missing_values import is_missing_value
from tsrec.data.nested import dotted_names
from tsrec.data.timestamps import Clock, RawTimes, parse_order, parse_times, to_common_unit
from tsrec.data.truncated_files import TruncatedTimeDetector
from tsrec.errors import DataError

SPLITS = tuple(split.value for split in Split)
_SHOWN_CHARS = 120
_NEEDED = {C.USER: "user", C.ITEM: "item", C.TIMESTAMP: "time", C.ORDER: "order"}  # the last where it is mapped
_SAMPLE = 1000  # values that are looked through for lists and objects
_EXAMPLES = 1000  # unknown ids that are kept, to see why they are unknown


@dataclass(frozen=True)
class Events:
    """(E,) arrays: user and item codes int32, timestamp int64, rating float32 (NaN where none), split int8 (an index
    into `SPLITS`, -1 where none); order int64, of a user's events of one time, None where no column gives it."""

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    rating: np.ndarray
    split: np.ndarray
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

    path: Path  # of the batch that is read
    first_row: int

    def __init__(self, item_ids: pd.Index, needs_rating: bool, needs_split: bool) -> None:
        self.item_ids = item_ids
        self.needs_rating, self.needs_split = needs_rating, needs_split
        self.user_codes: dict[str, int] = {}
        self.n_rows = 0  # but for those that were left out
        self.event_types: EventTypeFilter | None = None
        self.n_left_out = 0  # by `ingest.keep`
        self.n_incomplete = dict.fromkeys(_NEEDED.values(), 0)  # rows that lack it, and nothing before it
        self._incomplete_examples: dict[str, str] = {}
        self.n_unknown_items = 0
        self.n_ids_escaped = 0
        self.n_rounded = 0  # rows with an id or time whose last digits are lost
        self.rounded_example = ""
        self.unknown_items = pd.Index([], dtype="str")  # the first different ones
        self._columns: dict[str, list[np.ndarray]] = {"user": [], "item": [], "rating": [], "split": []}
        self._times: list[RawTimes] = []
        self._orders: list[RawTimes] = []
        self._time_truncation = TruncatedTimeDetector()

    def read(self, raw: Batch) -> None:
        """Take in one batch; rows without a user, item or time and events of unknown items are skipped and counted.

        Raises:
            DataError: a needed column is missing, or a value cannot be read; names its row and field.
        """
        if raw.first_row == 1:
            self._time_truncation = TruncatedTimeDetector()
        self.path, self.first_row = raw.path, raw.first_row
        self.event_types, self.n_left_out = raw.event_types, self.n_left_out + raw.n_left_out
        if raw.rows.empty:
            return
        self.n_rows += len(raw.rows)
        batch = self._complete(raw.rows)
        ids = self._ids(batch, C.ITEM)
        items = self.item_ids.get_indexer(ids).astype(np.int32)
        user_ids = self._ids(batch, C.USER)
        codes, users = pd.factorize(user_ids)
        self._count_rounded(ids, user_ids, batch[C.TIMESTAMP])
        numbers = np.array([self.user_codes.setdefault(user, len(self.user_codes)) for user in users], dtype=np.int32)
        times, bad = parse_times(batch[C.TIMESTAMP])
        self._refuse(batch[C.TIMESTAMP], bad, "a number or an ISO date", hint=_time_hint)
        if self._time_truncation.is_cut(batch[C.TIMESTAMP]):
            self._refuse(batch[C.TIMESTAMP], np.arange(len(batch)) == len(batch) - 1, "as long as all others: cut off")
        columns = {
            "user": numbers[codes],
            "item": items,
            "rating": self._ratings(batch),
            "split": self._splits(batch),
        }
        known = items >= 0
        if not known.all():
            self.n_unknown_items += int((~known).sum())
            self.unknown_items = self.unknown_items.append(pd.Index(ids[~known])).unique()[:_EXAMPLES]
        for name, values in columns.items():
            self._columns[name].append(values[known])
        self._times.append(times.take(known))
        if C.ORDER in batch:
            order, bad = parse_order(batch[C.ORDER])
            self._refuse(batch[C.ORDER], bad, "a number, an ISO date or a time of day", hint=_decimal_hint)
            self._orders.append(order.take(known))

    def events(self) -> tuple[Events, Clock, dict[str, int | str]]:
        """All events, in raw order, with their times in one unit; what that unit is, and what was counted. Asked for
        once: the reader keeps none of them.

        Raises:
            DataError: times of different units stand side by side.
        """
        timestamp, clock, counts = self._in_common_unit(C.TIMESTAMP, self._times)
        order = self._in_common_unit(C.ORDER, self._orders)[0] if self._orders else None
        # Column by column, so that no more than one of them is held twice.
        columns = {name: np.concatenate(self._columns.pop(name)) for name in list(self._columns)}
        return Events(timestamp=timestamp, order=order, **columns), clock, counts

    def _in_common_unit(self, field: str, times: list[RawTimes]) -> tuple[np.ndarray, Clock, dict[str, int | str]]:
        try:
            return to_common_unit(RawTimes.concatenate(times))
        except DataError as error:
            raise DataError(f"{self.path}: field {field}: {error}") from None

    def user_ids(self) -> np.ndarray:
        """(U,) object: user ids by code."""
        return np.array(list(self.user_codes), dtype=object)

    def incomplete(self) -> str:
        """What rows lacked, how often, and an example of each."""
        return ", ".join(
            f"{self.n_incomplete[what]:,} without {what}, e.g. {example}"
            for what, example in self._incomplete_examples.items()
        )

    def _complete(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that have a user, an item and a time."""
        lacks = np.zeros(len(rows), dtype=bool)
        for field, what in _NEEDED.items():
            if field not in rows and field == C.ORDER:
                continue
            found = is_missing_value(rows[field]) & ~lacks
            if found.any():
                first = rows[field][found].iloc[:1]
                shown = repr(first.iloc[0]) if isinstance(first.iloc[0], str) else "nothing"
                example = f"{shown} in row {self.first_row + int(first.index[0])} of {self.path.name}"
                self._incomplete_examples.setdefault(what, example)
                self.n_incomplete[what] += int(found.sum())
                lacks |= found
        return rows[~lacks] if lacks.any() else rows

    def _count_rounded(self, *columns: pd.Series) -> None:
        found = [has_lost_digits(values) for values in columns]
        self.n_rounded += int(np.logical_or.reduce(found).sum())
        for values, rounded in zip(columns, found, strict=True):
            if rounded.any() and not self.rounded_example:
                first = values[rounded].iloc[:1]
                row = self.first_row + int(first.index[0])
                self.rounded_example = f"{first.iloc[0]!r} in row {row} of {self.path.name}, field {values.name}"

    def _ids(self, batch: pd.DataFrame, field: str) -> pd.Series:
        values = batch[field]
        self._refuse(values, invalid_ids(values), "an id", hint=_list_hint)
        ids, n_escaped = ids_as_text(values, self.path)
        self.n_ids_escaped += n_escaped
        return ids

    def _ratings(self, batch: pd.DataFrame) -> np.ndarray:
        if not self.needs_rating:
            return np.full(len(batch), np.nan, dtype=np.float32)
        values = self._column(batch, C.RATING, "ingest.min_rating")
        ratings = as_numbers(values)
        self._refuse(values, ratings.isna().to_numpy() & ~is_missing_value(values), "a number", hint=_decimal_hint)
        return ratings.to_numpy().astype(np.float32)

    def _splits(self, batch: pd.DataFrame) -> np.ndarray:
        if not self.needs_split:
            return np.full(len(batch), -1, dtype=np.int8)
        values = self._column(batch, C.SPLIT, "ingest.split=column")
        codes = pd.Index(SPLITS).get_indexer(values.astype(str)).astype(np.int8)
        self._refuse(values, codes < 0, f"one of {', '.join(SPLITS)}")
        return codes

    def _column(self, batch: pd.DataFrame, field: str, wanted_by: str) -> pd.Series:
        if field not in batch:
            raise DataError(f"{self.path}: no column {field}, which {wanted_by} needs")
        return batch[field]

    def _refuse(
        self, values: pd.Series, bad: np.ndarray, expected: str, hint: Callable[[pd.Series], str] = lambda _: ""
    ) -> None:
        if bad.any():
            place = int(np.argmax(bad))
            row = self.first_row + int(values.index[place])
            value = repr(values.iloc[place])
            shown = value if len(value) <= _SHOWN_CHARS else value[:_SHOWN_CHARS] + "..."
            raise DataError(f"{self.path}: row {row}, field {values.name}: {shown} is not {expected}{hint(values)}")


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
