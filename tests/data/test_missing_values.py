"""Rows without a user, item or time: one definition of missing, left out, counted and told of, within a bound."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.data.conftest import EVENTS, ITEMS, Ingest, parquet, with_items, with_log
from tsrec.data.data_quality import data_quality_lines
from tsrec.data.missing_values import is_missing_value
from tsrec.data.texts import clean_text
from tsrec.errors import DataError

WORDS = [
    "",
    "  ",
    "NULL",
    "null",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "nan",
    "NaN",
    "None",
    "NaT",
    "<NA>",
    r"\N",
    " NA ",
    "0000-00-00",
]
VALUES = ["0", "-1", "guest", "Nan", "Nancy", "nana", "NANA", "-"]  # somebody's
COLUMNS = ("user_id", "item_id", "timestamp")


@pytest.mark.parametrize("dtype", ["str", "object"])
def test_words_for_no_value(dtype: str) -> None:
    assert is_missing_value(pd.Series([*WORDS, *VALUES], dtype=dtype)).tolist() == [True] * len(WORDS) + [False] * len(
        VALUES
    )


@pytest.mark.parametrize("word", WORDS)
def test_texts_and_ids_agree(word: str) -> None:
    assert clean_text(word) == ""


def test_other_values() -> None:
    objects = pd.Series([None, float("nan"), pd.NaT, pd.NA, b"", b"\xff", 0, False, [], {}, ["NA"]], dtype=object)
    assert is_missing_value(objects).tolist() == [True] * 5 + [False] * 6
    assert is_missing_value(pd.Series([1.0, np.nan])).tolist() == [False, True]
    assert is_missing_value(pd.Series([0, 1])).tolist() == [False, False]
    assert is_missing_value(pd.to_datetime(pd.Series(["2020-01-01", None]))).tolist() == [False, True]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(("column", "what"), zip(COLUMNS, ("user", "item", "time"), strict=True))
def test_rows_that_lack_something_are_left_out_and_told_of(ingest: Ingest, column: str, what: str, word: str) -> None:
    row = {"user_id": "u", "item_id": "a", "timestamp": "9", column: word}
    log = EVENTS.replace("u,c", ",".join(row.values()) + "\nu,c")
    artifact = ingest(with_log(log))
    assert artifact.frame("interactions")["item_id"].tolist() == ["a", "b", "c", "a"]
    assert artifact.counts["n_interactions_read"] == 5
    assert artifact.counts[f"n_interactions_without_{what}"] == 1
    (line,) = data_quality_lines(artifact)
    assert line.startswith("warning: 1 of 5 interactions (20.0%) lack a user, item or time, and are left out; ")
    assert f"1 without {what}, e.g. {word!r} in row 3 of interactions.csv" in line


def test_more_of_them_than_the_bound_are_an_error(ingest: Ingest) -> None:
    log = EVENTS + "NA,a,1\nNULL,b,2\nu,\\N,3\n"
    with pytest.raises(DataError, match=r"3 of 7 interactions \(42\.9%\) lack .* 2 without user, e\.g\. .NA. in row 5"):
        ingest(with_log(log))
    artifact = ingest(with_log(log), max_loss=0.5)
    assert artifact.counts["n_interactions_without_user"] == 2
    assert artifact.counts["n_interactions_without_item"] == 1


def test_nothing_but_such_rows(ingest: Ingest) -> None:
    files = with_log("user_id,item_id,timestamp\nNA,a,1\nNA,b,2\n")
    with pytest.raises(DataError, match=r"2 of 2 interactions \(100\.0%\) lack a user"):
        ingest(files)
    timeless = {**files, "interactions.csv": "user_id,item_id,timestamp\nu,a,\nu,b,\n"}
    with pytest.raises(
        DataError, match=r"2 without time, e\.g\. '' in row 1 .*; where there are no times, set ingest\.order"
    ):
        ingest(timeless)
    with pytest.raises(DataError, match="no interaction is left"):
        ingest(files, max_loss=1)


def test_missing_times_of_parquet(ingest: Ingest) -> None:
    """Numbers and dates; the others keep all their digits, though libraries make floats of them."""
    exact = [1_577_836_800_000_000_000 + step for step in (3, 1, 2, 4)]
    for times in (pd.Series([*exact, None], dtype="Int64"), pd.Series(pd.to_datetime([*exact, None]))):
        log = parquet({"user_id": ["u"] * 5, "item_id": list("abcab"), "timestamp": times})
        artifact = ingest({"items.csv": ITEMS, "interactions.parquet": log})
        assert artifact.frame("interactions")["timestamp"].tolist() == sorted(exact)
        assert artifact.counts["n_interactions_without_time"] == 1


def test_missing_times_where_a_format_is_given(ingest: Ingest) -> None:
    rows = "".join(f"u,a,0{day}.01.2020\n" for day in range(1, 6))
    log = f"user_id,item_id,timestamp\nu,a,NULL\n{rows}"
    artifact = ingest(with_log(log), time_format="%d.%m.%Y")
    assert artifact.counts["n_interactions"] == 5


def test_a_row_that_is_refused_behind_some_that_are_left_out_is_named_by_its_number(ingest: Ingest) -> None:
    log = EVENTS + "NA,a,1\nu,b,yesterday\n"
    with pytest.raises(DataError, match=r"row 6, field timestamp: 'yesterday'"):
        ingest(with_log(log))


def test_a_missing_rating_is_below_any(ingest: Ingest) -> None:
    log = "user_id,item_id,timestamp,rating\n" + "".join(
        f"u,a,{time},{rating}\n" for time, rating in enumerate(["5", "NA", "4", "", "3", "NULL", "5"])
    )
    assert ingest(with_log(log), min_rating=3).counts["n_dropped_by_rating"] == 3


@pytest.mark.parametrize("word", ["", "NA", None])
def test_items_without_an_id_are_left_out_and_told_of(ingest: Ingest, word: str | None) -> None:
    rows = [{"item_id": item, "title": title} for item, title in (("a", "Glue"), (word, "More"), ("b", "Wire"))]
    items = "".join(json.dumps(row) + "\n" for row in [*rows, {"item_id": "c", "title": "Oil"}])
    artifact = ingest({"items.jsonl": items, "interactions.csv": EVENTS})
    assert artifact.frame("items")["item_id"].tolist() == ["a", "b", "c"]
    (line,) = data_quality_lines(artifact)
    shown = "nothing" if word is None else repr(word)
    expected = f"1 of 4 items (25.0%) have no id, and are left out; e.g. {shown} in row 2 of items.jsonl"
    assert line == f"warning: {expected}"
    with pytest.raises(DataError, match=r"1 of 4 items .* ingest\.max_loss=0\.2 is an error"):
        ingest({"items.jsonl": items, "interactions.csv": EVENTS}, max_loss=0.2)


def test_an_item_that_stands_twice_behind_one_without_id_is_named_by_its_row(ingest: Ingest) -> None:
    artifact = ingest(with_items(ITEMS + "NA,None\na,Glue\n"))
    assert any("the last row counts; e.g. 'a' in row 5 of items.csv" in line for line in data_quality_lines(artifact))
