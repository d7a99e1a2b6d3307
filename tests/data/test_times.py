"""Whatever form times come in, their order is by full resolution, and a limit of a window means what people write."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import ITEMS, Ingest, with_log
from tsrec.data.times import UNITS, Clock, RawTimes, moment, parse_times, settle
from tsrec.errors import ConfigError, DataError

BASE = 1_577_836_800  # 2020-01-01
DAY = datetime(2020, 1, 1, tzinfo=UTC)


def _settled(values: pd.Series) -> tuple[list[int], str]:
    raw, bad = parse_times(values)
    assert not bad.any()
    times, clock, _ = settle(raw)
    return times.tolist(), clock.unit


NANOS = st.lists(st.integers(0, 10**9 - 1), min_size=2, max_size=20)


@given(NANOS)
def test_text_keeps_every_digit_as_a_number_and_as_a_date(nanos: list[int]) -> None:
    exact = [BASE * 10**9 + value for value in nanos]
    for texts in (
        [f"{BASE}.{value:09d}" for value in nanos],
        [f"2020-01-01T00:00:00.{value:09d}Z" for value in nanos],
        [f"2020-01-01 02:00:00.{value:09d}+02:00" for value in nanos],
        [str(value) for value in exact],
    ):
        times, unit = _settled(pd.Series(texts))
        assert [time * 10 ** (9 - UNITS[unit]) for time in times] == exact


@given(NANOS)
def test_dates_of_every_unit_of_parquet_come_out_whole(nanos: list[int]) -> None:
    for unit, exponent in UNITS.items():
        steps = [BASE * 10**exponent + value // 10 ** (9 - exponent) for value in nanos]
        column = pd.Series(np.array(steps, dtype=f"datetime64[{unit}]"))
        for values in (column, column.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")):
            times, found = _settled(values)
            assert [time * 10 ** (9 - UNITS[found]) for time in times] == [s * 10 ** (9 - exponent) for s in steps]


@given(st.lists(st.floats(0, 86_400, allow_nan=False), min_size=2, max_size=20))
def test_floats_keep_their_order_and_what_is_written_of_them(seconds: list[float]) -> None:
    values = [BASE + second for second in seconds]
    times, unit = _settled(pd.Series(values))
    nanos = [int(Decimal(repr(value)) * 10**9) for value in values]
    assert [time * 10 ** (9 - UNITS[unit]) for time in times] == nanos


@pytest.mark.parametrize(
    ("values", "times", "unit"),
    [
        ([BASE, BASE + 1], [BASE, BASE + 1], "s"),
        (["1577836800.0", "1577836801"], [BASE, BASE + 1], "s"),
        (["1577836800.5", "1577836801"], [BASE * 1000 + 500, BASE * 1000 + 1000], "ms"),
        (["1.5778368005e9", "1577836801"], [BASE * 1000 + 500, BASE * 1000 + 1000], "ms"),
        ([BASE * 1000 + 7, BASE * 1000], [BASE * 1000 + 7, BASE * 1000], "ms"),
        ([BASE * 10**6 + 7, BASE * 10**6], [BASE * 10**6 + 7, BASE * 10**6], "us"),
        ([BASE * 10**9 + 7, BASE * 10**9], [BASE * 10**9 + 7, BASE * 10**9], "ns"),
        (["2020-01-01 00:00:01 UTC", "2020-01-01T00:00:00Z"], [BASE + 1, BASE], "s"),
        (["2020-01-01 00:00:01GMT", "2020-01-01T02:00:00 +02:00", "2020-01-01z"], [BASE + 1, BASE, BASE], "s"),
        (["2020-01-01 00:00:00 +0000 UTC", "2020-01-01", "1577836801"], [BASE, BASE, BASE + 1], "s"),
        (["2020-01-01 00:00:00.000000007 UTC", "2020-01-01 00:00:00 UTC"], [BASE * 10**9 + 7, BASE * 10**9], "ns"),
        (["1577836800000", "2020-01-01T00:00:00.007"], [BASE * 1000, BASE * 1000 + 7], "ms"),
        (["1577836800000.5", "2020-01-01"], [BASE * 10**6 + 500, BASE * 10**6], "us"),
        ([20200101, 20200102], [BASE, BASE + 86_400], "s"),
        (["20200101000001", "20200101000000"], [BASE + 1, BASE], "s"),
        ([date(2020, 1, 1), date(2020, 1, 2)], [BASE, BASE + 86_400], "s"),
        ([DAY + timedelta(microseconds=3), DAY], [BASE * 10**6 + 3, BASE * 10**6], "us"),
        ([3, 0, 53017], [3, 0, 53017], "order"),
        (["2.5", "-0.5", "1", "-.25", "+3."], [2500, -500, 1000, -250, 3000], "order"),
        ([-5, -1], [-5, -1], "order"),
    ],
)
def test_forms_of_times(values: list[object], times: list[int], unit: str) -> None:
    assert _settled(pd.Series(values)) == (times, unit)


def test_different_units_in_one_column_are_refused() -> None:
    with pytest.raises(DataError, match=r"different units stand side by side: 1577836800 \(s, 2\) and 1577836800000"):
        _settled(pd.Series([BASE, BASE + 1, BASE * 1000]))


def test_times_that_64_bits_cannot_hold_together_are_refused() -> None:
    with pytest.raises(DataError, match="too far from the others' fine times"):
        _settled(pd.Series(["2020-01-01T00:00:00.000000001", "2020-01-01"]).replace("2020-01-01", "253402300799.5"))


def test_times_that_are_no_times_like_the_others_are_counted() -> None:
    raw = RawTimes(np.array([0, BASE, BASE + 1, -1]), np.zeros(4, np.int32), np.zeros(4, bool))
    assert settle(raw)[2] == {"time_unit": "s", "n_times_outside_1990_to_2100": 2}


@pytest.mark.parametrize(
    ("text", "unit", "limit"),
    [
        ("2018", "s", 1_514_764_800),
        ("2018", "ms", 1_514_764_800_000),
        ("201407", "s", 1_404_172_800),
        ("20140720", "s", 1_405_814_400),
        ("20140720", "ns", 1_405_814_400 * 10**9),
        ("2014-07-20", "us", 1_405_814_400 * 10**6),
        ("2014-07-20T12:00:00.0005+02:00", "ms", 1_405_850_400_001),  # the first step not before it
        ("2014-07-20 00:00:00 UTC", "s", 1_405_814_400),
        ("1405814400", "s", 1_405_814_400),
        ("1405814400", "ms", 1_405_814_400_000),  # nobody means the year 1970
        ("1405814400000", "s", 1_405_814_400),
        ("53000", "order", 53_000),
        ("2018.0", "order", 2018),
    ],
)
def test_limits_of_a_window(text: str, unit: str, limit: int) -> None:
    assert moment(text, "since", Clock(unit)) == limit


def test_a_raw_number_counts_in_the_unit_of_the_raw_numbers() -> None:
    assert moment("7", "since", Clock("order", 1000)) == 7000


@pytest.mark.parametrize("text", ["2018", "20140720", "2014-07-20"])
def test_a_date_among_places_in_an_order_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is a date, but the raw timestamps are no clock times"):
        moment(text, "since", Clock("order"))


@pytest.mark.parametrize("text", ["spring", "today", "now", "", "2014-13-01"])
def test_a_limit_that_is_neither(text: str) -> None:
    with pytest.raises(ConfigError, match="neither a number nor an ISO date"):
        moment(text, "since", Clock("s"))


@pytest.mark.parametrize("year", [2020, "2020", "20200101", 1_577_836_800])
def test_years_never_are_seconds(ingest: Ingest, year: object) -> None:
    rows = "".join(f"u,{item},{BASE + step}\n" for step, item in zip((-2, -1, 0, 1, 2, 3), "abcabc", strict=True))
    files = with_log(f"user_id,item_id,timestamp\n{rows}")
    artifact = ingest(files, since=year)
    assert artifact.counts["n_dropped_by_time"] == 2
    assert artifact.frame("interactions")["item_id"].tolist() == ["c", "a", "b", "c"]


@pytest.mark.parametrize("text", ["now", "today", "now UTC", "todayZ", "UTC", "2020-01-01 PST"])
def test_times_that_move_are_none(text: str) -> None:
    assert parse_times(pd.Series(["2020-01-01", text]))[1].tolist() == [False, True]


def test_milliseconds_of_parquet_order_events(ingest: Ingest) -> None:
    moments = pa.array([BASE * 1000 + step for step in (30, 10, 20, 40)], pa.timestamp("ms"))
    table = pa.table({"user_id": ["u"] * 4, "item_id": list("abca"), "timestamp": moments})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    files = {"items.csv": ITEMS, "interactions.parquet": sink.getvalue().to_pybytes()}
    artifact = ingest(files)
    assert artifact.frame("interactions")["item_id"].tolist() == ["b", "c", "a", "a"]
    assert artifact.counts["time_unit"] == "ms"


@pytest.mark.parametrize(
    ("times", "cut"),
    [
        (["1577836800", "1577836801", "1577836802", "1577836803"], "15778"),
        (["1577836800123", "1577836801123", "1577836802123", "1577836803123"], "1577836804"),
        (["1577836800.5", "1577836801.5", "1577836802", "1577836803"], "15778.5"),
        (["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"], "2020-01"),
        (["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"], "2020"),
        (["2020-01-01 10:00:00"] * 3 + ["2020-01-02 10:00:00"], "2020-01-03 1"),
        (["20200101", "20200102", "20200103", "20200104"], "2020010"),
    ],
)
def test_a_last_row_cut_in_its_time_is_refused(ingest: Ingest, times: list[str], cut: str) -> None:
    rows = "".join(f"u,a,{time}\n" for time in times) + f"u,a,{cut}"
    with pytest.raises(DataError, match=rf"interactions\.csv: row 5, field timestamp: '{cut}'"):
        ingest(with_log(f"user_id,item_id,timestamp\n{rows}"))


@pytest.mark.parametrize(
    "times",
    [
        ["1577836803", "1577836802", "1577836801", "1577836800"],
        ["1003", "1001", "1000", "999"],  # places in an order
        ["2020-01-01T00:00:00.25", "2020-01-01T00:00:01.25", "2020-01-01T00:00:02.25", "2020-01-01T00:00:03"],
        ["1577836800.25", "1577836801.25", "1577836802.25", "1577836803"],
        [*(f"2020-01-01 00:00:0{second}.25 UTC" for second in range(3)), "2020-01-01 00:00:03 UTC"],
    ],
)
def test_a_last_row_that_is_whole_is_read(ingest: Ingest, times: list[str]) -> None:
    rows = "".join(f"u,a,{time}\n" for time in times)
    artifact = ingest(with_log(f"user_id,item_id,timestamp\n{rows}"))
    assert artifact.counts["n_interactions"] == 4
