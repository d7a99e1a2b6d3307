"""Raw times -> integers of one unit; nothing that the data tells apart falls together. Knows no files and no users.

A raw time is a number (seconds, milliseconds, microseconds or nanoseconds since 1970, or just a place in an order) or
an ISO date. Which unit the numbers have is read off all of them together: clock times lie between 1990 and 2100, and
in only one unit at once. All times come out in the coarsest unit that tells them all apart.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tsrec.data.growing_array import GrowingArray
from tsrec.errors import ConfigError, DataError

UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # name -> decimal digits below a second
ORDER = "order"  # the unit of numbers that are no clock times
_CLOCK = (631_152_000, 4_102_444_800)  # the years 1990 and 2100 in seconds since 1970
# digits -> how people write dates
_CALENDAR = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_DIGITS = "^[0-9]{1,18}$"  # a number that 64 bits hold
_NUMBER = r"^\s*(?P<whole>[+-]?\d*)(?:\.(?P<part>\d*))?\s*$"
_MOVING = ("now", "today")  # pandas reads them as dates
_UTC = re.compile(r"(?<=\d)\s*(?:UTC|GMT|Z)\s*$", re.IGNORECASE)  # behind a date or an offset of zero
_OF_DAY = r"\d\d?:\d\d:\d\d(\.\d+)?"


@dataclass(frozen=True)
class RawTimes:
    """(E,) arrays: a time is `whole` (int64) and `nanos` (int32) billionths; in seconds since 1970 where `is_date`
    (bool), else in the unit of the raw numbers, which only all of them together tell."""

    whole: np.ndarray
    nanos: np.ndarray
    is_date: np.ndarray

    def take(self, rows: np.ndarray) -> Self:
        """The given rows (indices or a mask)."""
        return type(self)(self.whole[rows], _packed(self.nanos[rows]), _packed(self.is_date[rows]))


class GrowingTimes:
    """Raw times that are appended part by part."""

    def __init__(self) -> None:
        self._whole = GrowingArray(np.int64)
        self._nanos: list[np.ndarray] = []
        self._is_date: list[np.ndarray] = []

    def append(self, times: RawTimes) -> None:
        """Take in a part."""
        self._whole.append(times.whole)
        self._nanos.append(times.nanos)
        self._is_date.append(times.is_date)

    def times(self) -> RawTimes:
        """All times so far, one after the other."""
        nanos, is_date = _packed(np.concatenate(self._nanos)), _packed(np.concatenate(self._is_date))
        return RawTimes(self._whole.values(), nanos, is_date)


@dataclass(frozen=True)
class Clock:
    """What settled times mean: their `unit` (of `UNITS`, or `ORDER`), and how many of their steps make up one of the
    raw numbers."""

    unit: str
    steps_per_number: int = 1

    def is_plausible(self, values: np.ndarray) -> np.ndarray:
        """(E,) bool: which settled times lie between 1990 and 2100; all of them where they are no clock times."""
        return np.ones(len(values), dtype=bool) if self.unit == ORDER else _in_clock(values, UNITS[self.unit])


def parse_times(values: pd.Series) -> tuple[RawTimes, np.ndarray]:
    """Read numbers (also as text) and ISO dates, whose zone may be called UTC, GMT or Z; without one they are UTC.

    Returns:
        The times, and an (E,) bool array of those that are neither.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        return _dates(values)
    as_float = _as_numbers(values)
    if as_float.dtype == np.int64:
        whole = as_float.to_numpy()
        return RawTimes(whole, np.zeros(len(whole), np.int32), np.zeros(len(whole), bool)), np.zeros(len(whole), bool)
    floats = as_float.to_numpy(dtype=np.float64, na_value=np.nan)
    is_number = np.abs(floats) < 2.0**63  # not for NaN either
    plain = is_number & (np.floor(floats) == floats)
    if not pd.api.types.is_float_dtype(values):  # text, whose last digits a float does not hold
        plain[:] = False
    times = RawTimes(np.where(plain, floats, 0).astype(np.int64), np.zeros(len(values), np.int32), ~is_number)
    bad = np.zeros(len(values), dtype=bool)
    exact = is_number & ~plain
    if exact.any():
        times.whole[exact], times.nanos[exact] = _decimals(values[exact].astype(str), floats[exact])
    if not is_number.all():
        others = values[~is_number]
        others = others.mask(others.isin(_MOVING))
        moments = pd.to_datetime(others, errors="coerce", utc=True, format="ISO8601")
        if moments.isna().any():  # 2024-03-12 19:00:00 UTC
            others = others.mask(moments.isna(), others.astype(str).str.replace(_UTC, "", regex=True))
            moments = pd.to_datetime(others, errors="coerce", utc=True, format="ISO8601")
        dates, bad[~is_number] = _dates(moments)
        times.whole[~is_number], times.nanos[~is_number] = dates.whole, dates.nanos
    return times, bad


def parse_order(values: pd.Series) -> tuple[RawTimes, np.ndarray]:
    """Read what orders events within one time: as `parse_times` does, and times of day (19:04:11).

    Returns:
        What orders, and an (E,) bool array of values that are none of these.
    """
    times, bad = parse_times(values)
    if bad.any():
        texts = values[bad].astype(str).str.strip()
        texts = texts.where(~texts.str.fullmatch(r"\d\d?:\d\d"), texts + ":00")
        of_day = pd.to_timedelta(texts.where(texts.str.fullmatch(_OF_DAY)), errors="coerce")
        nanos = of_day.fillna(pd.Timedelta(0)).dt.as_unit("ns").astype(np.int64).to_numpy()
        times.whole[bad], times.nanos[bad], times.is_date[bad] = nanos // 10**9, nanos % 10**9, False
        bad[bad] = of_day.isna().to_numpy()
    return times, bad


def to_common_unit(raw: RawTimes) -> tuple[np.ndarray, Clock, dict[str, int | str]]:
    """Bring all times to the coarsest common unit that loses nothing.

    Returns:
        (E,) int64 times, what they mean, and what was counted.

    Raises:
        DataError: numbers of different units stand side by side, or times too far apart for 64 bits.
    """
    whole, nanos, is_date = raw.whole, raw.nanos, raw.is_date
    numbers = whole if not is_date.any() else whole[~is_date]
    calendar = _calendar_seconds(numbers) if not raw.nanos.any() else None
    if calendar is not None:
        whole = whole.copy()
        whole[~is_date] = calendar
        is_date, numbers = np.ones(len(whole), dtype=bool), numbers[:0]
    unit = _unit_of(numbers)
    below = UNITS.get(unit, 0)
    if below and is_date.any():  # dates join the numbers in their unit
        whole, nanos = whole.copy(), nanos.copy()
        step = 10 ** (9 - below)
        whole[is_date] = _scaled(whole[is_date], 10**below) + nanos[is_date] // step
        nanos[is_date] = nanos[is_date] % step * 10**below
    finer = nanos if nanos.any() else nanos[:1]
    digits = next(d for d in (0, 3, 6, 9) if d == 9 or not (finer % 10 ** (9 - d)).any())
    digits = min(digits, 9 - below)
    values = _scaled(whole, 10**digits)
    if nanos.any():
        values = values + nanos // 10 ** (9 - digits)
    if unit != ORDER or is_date.any():
        unit = next(name for name, exponent in UNITS.items() if exponent == below + digits)
    clock = Clock(unit, 10**digits)
    n_outside = int((~clock.is_plausible(values)).sum())
    return values, clock, {"time_unit": unit, "n_times_outside_1990_to_2100": n_outside}


def parse_time_limit(text: str, field: str, clock: Clock) -> int:
    """A limit of a time window in the unit of settled times, so that `times >= moment` are those from it on.

    What looks like a year, a month or a day (2018, 201407, 20140720) is a date, any other number a raw time.

    Raises:
        ConfigError: neither a number nor an ISO date, or a date where times are no clock times.
    """
    stripped = _UTC.sub("", text.strip())
    date = _calendar_date(stripped)
    if date is None and re.fullmatch(r"[+-]?\d+(\.\d*)?", stripped):
        number = Decimal(stripped)
        own = next((n for n, e in UNITS.items() if _in_clock(np.array([int(number)]), e)[0]), None)
        if own is None or clock.unit == ORDER:
            return ceil(number * clock.steps_per_number)
        return ceil(number * Decimal(10) ** (UNITS[clock.unit] - UNITS[own]))
    if date is None:
        date = pd.to_datetime(stripped, errors="coerce", utc=True, format="ISO8601")
        if date is pd.NaT or stripped in _MOVING:
            raise ConfigError(f"ingest.{field}: {text!r} is neither a number nor an ISO date")
    if clock.unit == ORDER:
        hint = f"; {stripped}.0 means the number" if stripped.isdigit() else ""
        raise ConfigError(f"ingest.{field}: {text!r} is a date, but the raw timestamps are no clock times{hint}")
    microseconds = int(date.tz_localize(None).to_datetime64().astype("datetime64[us]").astype(np.int64))
    return ceil(Decimal(microseconds) * Decimal(10) ** (UNITS[clock.unit] - 6))


def _as_numbers(values: pd.Series) -> pd.Series:
    """Numbers and texts of numbers as such, whole ones exactly; NaN for anything else."""
    if isinstance(values.dtype, pd.StringDtype):
        texts = pa.array(values, pa.string())
        if pc.all(pc.match_substring_regex(texts, _DIGITS), skip_nulls=False).as_py():
            return pd.Series(texts.cast(pa.int64()).to_numpy())  # pandas would make a Python string of each first
    return pd.to_numeric(values, errors="coerce")


def _decimals(texts: pd.Series, floats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole parts and billionths of numbers as they are written; floats do not hold nanoseconds since 1970."""
    parts = pc.extract_regex(pa.array(texts, pa.string()), pattern=_NUMBER)
    odd = parts.is_null().to_numpy(zero_copy_only=False)  # 1.5e9
    if odd.any():
        texts = texts.mask(odd, pd.Series([f"{value:.9f}" for value in floats], index=texts.index))
        parts = pc.extract_regex(pa.array(texts, pa.string()), pattern=_NUMBER)
    digits = pc.replace_substring_regex(pc.struct_field(parts, "whole"), pattern=r"^\+|^(-?)$", replacement=r"\10")
    whole = digits.cast(pa.int64()).to_numpy(zero_copy_only=False).copy()
    part = pc.utf8_slice_codeunits(pc.utf8_rpad(pc.struct_field(parts, "part"), width=9, padding="0"), 0, 9)
    nanos = part.cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int32)
    below_zero = np.signbit(floats) & (nanos > 0)
    whole[below_zero] -= 1
    nanos[below_zero] = 10**9 - nanos[below_zero]
    return whole, nanos


def _dates(values: pd.Series) -> tuple[RawTimes, np.ndarray]:
    if values.dt.tz is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    moments = values.to_numpy()
    bad = np.isnat(moments)
    per_second = 10 ** UNITS[np.datetime_data(moments.dtype)[0]]
    steps = np.where(bad, 0, moments.astype(np.int64))
    nanos = (steps % per_second * (10**9 // per_second)).astype(np.int32)
    return RawTimes(steps // per_second, nanos, np.ones(len(steps), dtype=bool)), bad


def _unit_of(numbers: np.ndarray) -> str:
    """The unit in which at least half of the numbers are clock times, or else `ORDER`."""
    found = {unit: _in_clock(numbers, exponent) for unit, exponent in UNITS.items()}
    present = [unit for unit, inside in found.items() if inside.any()]
    if len(present) > 1:
        examples = [f"{numbers[np.argmax(found[unit])]} ({unit}, {found[unit].sum():,})" for unit in present]
        raise DataError(f"different units stand side by side: {' and '.join(examples)}; convert them to one")
    if present and 2 * int(found[present[0]].sum()) >= len(numbers):
        return present[0]
    return ORDER


def _in_clock(values: np.ndarray, exponent: int) -> np.ndarray:
    first, last = (limit * 10**exponent for limit in _CLOCK)
    return (values >= first) & (values < last)


def _calendar_seconds(numbers: np.ndarray) -> np.ndarray | None:
    """Seconds since 1970 of numbers that are all days, hours or moments as 20140720, 2014072012 or 20140720123000;
    else None. Ten digits would be seconds of the years 2033 to 2036, whose last six are an hour of a day by chance."""
    for digits in (8, 10, 12, 14):
        first = 1990 * 10 ** (digits - 4)
        if len(numbers) and numbers.min() >= first and numbers.max() < 2100 * 10 ** (digits - 4):
            distinct = np.unique(numbers)
            dates = pd.to_datetime(pd.Series(distinct.astype(str)), errors="coerce", format=_CALENDAR[digits])
            return None if dates.isna().any() else _dates(dates)[0].whole[np.searchsorted(distinct, numbers)]
    return None


def _calendar_date(text: str) -> pd.Timestamp | None:
    """The day that 2018, 201407 or 20140720 means; None where a text is anything else."""
    layout = _CALENDAR.get(len(text)) if text.isdigit() else None
    if layout is None or not 1900 <= int(text[:4]) < 2100:
        return None
    date = pd.to_datetime(text, errors="coerce", utc=True, format=layout)
    return None if date is pd.NaT else date


def _packed(values: np.ndarray) -> np.ndarray:
    """The same values without their memory where all are equal, as whole seconds or dates throughout are; read only."""
    same = len(values) > 0 and (values == values[0]).all()
    return np.broadcast_to(values[0], values.shape) if same else values


def _scaled(values: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return values
    limit = 2**63 // factor - 1
    outside = (values > limit) | (values < -limit)
    if outside.any():
        far = f"{values[np.argmax(outside)]} (in its own unit) is too far from the others' fine times for 64 bits"
        raise DataError(f"{far}; drop that row, or round the times")
    return values * factor
