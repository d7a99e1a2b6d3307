"""Exports of spreadsheets, databases and analytics, as people have them: read right, or refused with what to do."""

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import EVENTS, HEADER, ITEMS, Ingest, json_lines, with_items, with_log
from tsrec.data.ids import has_lost_digits, ids_as_text
from tsrec.errors import DataError


@pytest.mark.parametrize(
    ("text", "is_lost"),
    [
        ("4,00638E+12", True),
        ("4.00638E+12", True),
        ("1.5727e+09", True),
        ("1E+10", True),
        ("4.006381333900e+12", False),  # all digits are there
        ("1e10", False),  # a hash may read so
        ("1E-05", False),
        ("SIZE+10", False),
        ("4006381333900", False),
    ],
)
def test_numbers_that_a_spreadsheet_has_rounded_are_found(text: str, is_lost: bool) -> None:
    assert has_lost_digits(pd.Series([text], dtype="str")).tolist() == [is_lost]
    assert has_lost_digits(pd.Series([text, 7, None], dtype=object)).tolist() == [is_lost, False, False]


def test_ids_and_times_that_lost_their_last_digits_are_an_error(ingest: Ingest) -> None:
    """Else different items, or moments, would become one without a word."""
    rounded = "item_id,title\n4.00638E+12,Glue\n4.00639E+12,Wire\n"
    with pytest.raises(DataError, match=r"2 of 2 items \(100.0%\) have an id whose last digits .* '4.00638E\+12' in"):
        ingest(with_items(rounded))
    times = "".join(f"u,{item},1.57270E+12\n" for item in "abca")
    message = r"4 of 4 .* a time whose last digits are lost; e\.g\. '1\.57270E\+12' in row 1 of .*, field timestamp"
    with pytest.raises(DataError, match=message):
        ingest(with_log(HEADER + times))


def test_few_rounded_ids_are_counted(ingest: Ingest) -> None:
    artifact = ingest(with_log(EVENTS + "1.2E+06,a,9\n"))
    assert artifact.manifest.counts["n_interactions_with_lost_digits"] == 1


def test_hours_as_analytics_write_them_are_dates(ingest: Ingest) -> None:
    """2019110316 is no second of 2033; seconds since 1970 stay what they are."""
    rows = "".join(f"u,{item},20191103{hour}\n" for hour, item in enumerate("abca", start=16))
    artifact = ingest(with_log(HEADER + rows))
    moments = pd.to_datetime(artifact.frame("interactions")["timestamp"], unit="s")
    assert moments.iloc[0] == pd.Timestamp("2019-11-03 16:00")
    rows = "".join(
        f"u,{item},{time}\n"
        for item, time in zip("abca", (2019110316, 2019110317, 2019110375, 2019110400), strict=True)
    )
    artifact = ingest({"interactions.csv": HEADER + rows})
    assert artifact.frame("interactions")["timestamp"].iloc[0] == 2019110316


def test_decimals_of_a_database_meet_whole_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": pa.array([Decimal("8"), Decimal("7.5")], pa.decimal128(38, 10))}), tmp_path / "x")
    values = pq.read_table(tmp_path / "x").to_pandas()["id"]
    assert ids_as_text(values, tmp_path)[0].tolist() == ["8", "7.5000000000"]


@pytest.mark.parametrize("word", ["(not set)", "undefined"])
def test_words_of_analytics_for_none_are_missing(ingest: Ingest, word: str) -> None:
    artifact = ingest(with_log(EVENTS + f"{word},a,9\n"))
    assert artifact.manifest.counts["n_interactions_without_user"] == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(ITEMS.encode(), mtime=0), "gzip"),
        (b"PK\x03\x04\x14\x00\x08\x08\xd0", "ZIP"),
        (b"SQLite format 3\0\x10\x00\xff\xff", "an SQLite database; write its table as CSV"),
        (b"ARROW1\0\0\xff\xff", "a file of Arrow or Feather; write it as Parquet or CSV"),
        (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94", "a pickle of Python; write it as Parquet or CSV"),
        (b"<!DOCTYPE html><html><body>Sign in, please</body></html>\n", "HTML or XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "a pointer of Git LFS; fetch the file itself"),
        (b"-- MySQL dump 10.13  Distrib 8.0\nDROP TABLE IF EXISTS `a`;\n", "a dump of a database in SQL"),
        (b"--\n-- PostgreSQL database dump\n--\n", "a dump of a database in SQL"),
        (b"COPY public.orders (user_id, item_id, at) FROM stdin;\n1\t2\t3\n", "a dump of a database in SQL"),
    ],
)
@pytest.mark.parametrize("name", ["log.csv", "log.sqlite"])
def test_what_is_no_table_is_called_by_its_name(
    ingest: Ingest, caplog: pytest.LogCaptureFixture, name: str, content: bytes, what: str
) -> None:
    with pytest.raises(DataError, match=f"no text of rows but {what}"):
        ingest({"items.csv": ITEMS, name: content}, interactions_file=name)
    assert "stop within a line" not in caplog.text


@pytest.mark.parametrize(
    ("id_text", "cause"),
    [
        ('"=""%s"""', r"stand in marks \(\"A1\", =\"A1\"\); write them alike"),
        (" %s ", "blanks stand around the ids of one file; write them alike"),
        ("%s b", "one field holds several ids, where every event needs a row"),
        ("%s-1 b-0", "one field holds several ids"),
        ("['%s' 'b']", "one field holds several ids"),
    ],
)
def test_ids_that_do_not_meet_are_told_the_cure_that_fits(ingest: Ingest, id_text: str, cause: str) -> None:
    rows = "".join(f"u,{id_text % item},{time}\n" for time, item in enumerate("abca"))
    with pytest.raises(DataError, match=cause) as error:
        ingest(with_log(HEADER + rows))
    assert "keep ids as text" not in str(error.value)


HIVE = "recsyschallenge_v2_2017_interactions_final_anonym_training_export."  # stands before every column's name
HIVE_NAMES = ",".join(HIVE + name for name in ("user_id", "item_id", "created_at"))
R_ROWS = '"user_id" "item_id" "timestamp"\n' + "".join(f'"{n}" "u" "{item}" {n}\n' for n, item in enumerate("abca"))
BLANKS: dict[str, Any] = {"interactions_format": {"separator": " "}}
MONGO = [{"user_id": "u", "item_id": item, "timestamp": 1} for item in ("a", {"$numberLong": "7"})]
MONGO_TIME = [{"user_id": "u", "item_id": "a", "timestamp": {"$date": 5}}]
ITEMS_ALONE = {"items_file": "t_1.csv", "interactions_file": "t_*.csv"}


@pytest.mark.parametrize(
    ("message", "files", "config"),
    [
        ("row 2 reads like the header: take out what stands above it", with_log("Sales report,,\n,,\n" + EVENTS), {}),
        ("one field, '# All Web'; where lines stand above the header", with_log("# All Web\n\n" + EVENTS), {}),
        (r"row 1 has 4 fields, expected 3: .*; where row names .* row\.names = FALSE", with_log(R_ROWS), BLANKS),
        ("row 1 has 3 fields, expected 2: .*; mend the row", with_items(ITEMS.replace("Glue", "Glue, strong")), {}),
        (r"format\.encoding=utf-16", with_log(EVENTS.replace(",", "\t").encode("utf-16"), "interactions.txt"), {}),
        (r"format\.separator=' '", with_log(EVENTS.replace(",", " "), "interactions.txt"), {}),
        (
            r"row 2, field item_id: .* by dotted names: COLUMN\.\$numberLong",
            with_log(json_lines(MONGO), "interactions.jsonl"),
            {},
        ),
        (r"timestamp: .* by dotted names: COLUMN\.\$date", with_log(json_lines(MONGO_TIME), "interactions.jsonl"), {}),
        (r"export\.user_id, .*export\.item_id, .*export\.created_at;", with_log(f"{HIVE_NAMES}\nu,a,1\n"), {}),
        (r"set ingest\.time_format='%Y年%m月%d日 %H:%M'", with_log(HEADER + "u,a,2019年11月2日 13:21\n"), {}),
        (r"t_\*\.csv: only files that are already named for items fit this", {"t_1.csv": ITEMS}, ITEMS_ALONE),
    ],
)
def test_the_cure_is_named(ingest: Ingest, message: str, files: dict[str, str | bytes], config: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=message):
        ingest(files, **config)
