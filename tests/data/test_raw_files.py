"""One file, part files, daily files, given splits: what is read is what is meant, in a fixed order, or refused."""

import io

import pandas as pd
import pytest

from tests.data.conftest import EVENTS, HEADER, ITEMS, Ingest, parquet
from tsrec.config import IngestConfig
from tsrec.data import STAGE
from tsrec.errors import DataError


def _log(*items: str, start: int = 0) -> str:
    return HEADER + "".join(f"u,{item},{time}\n" for time, item in enumerate(items, start))


def test_the_folders_that_spark_writes(ingest: Ingest) -> None:
    frame = pd.read_csv(io.StringIO(EVENTS))
    artifact = ingest(
        {
            "items.csv": ITEMS,
            "interactions.parquet/_SUCCESS": "",
            "interactions.parquet/.part-00000.snappy.parquet.crc": "x",
            "interactions.parquet/part-00000-1a.c000.snappy.parquet": parquet(frame[:3]),
            "interactions.parquet/part-00001-1a.c000.snappy.parquet": parquet(frame[3:]),
        }
    )
    assert artifact.frame("interactions")["item_id"].tolist() == ["a", "b", "c", "a"]


def test_partitions_name_a_column_and_may_be_empty(ingest: Ingest) -> None:
    rows = "user_id,item_id\nu,{}\nu,{}\n"
    artifact = ingest(
        {
            "items.csv": ITEMS,
            "interactions/day=2026-11-25/part-0.csv": rows.format("b", "a"),
            "interactions/day=2026-11-24/part-0.csv": rows.format("a", "c"),
            "interactions/day=2026-11-23/part-0.csv": "",
        },
        interaction_columns={"timestamp": "day"},
    )
    assert artifact.frame("interactions")["item_id"].tolist() == ["a", "c", "b", "a"]


def test_daily_files_are_read_together_in_order_of_their_numbers(ingest: Ingest) -> None:
    files = {f"interactions_2026-11-{day}.csv": _log(*items) for day, items in ((9, "ab"), (10, "b"), (11, "c"))}
    artifact = ingest({"items.csv": ITEMS, **files}, order="rows")
    assert artifact.frame("interactions")["item_id"].tolist() == ["a", "b", "b", "c"]
    assert artifact.frame("interactions")["timestamp"].tolist() == [0, 1, 2, 3]


def test_users_of_many_parts_are_those_of_one_file(ingest: Ingest) -> None:
    """Ids of users are gathered part by part, and brought together now and then; some come again."""
    rows = [f"u{number * 7 % 61},{'abc'[number % 3]},{number}\n" for number in range(120)]
    whole = ingest({"items.csv": ITEMS, "interactions.csv": HEADER + "".join(rows)}, split="time")
    files = {f"log/{part}.csv": HEADER + "".join(rows[3 * part : 3 * part + 3]) for part in range(40)}
    read = ingest(files, interactions_file="log", split="time")
    assert read.table("interactions").equals(whole.table("interactions")) and read.counts["n_users"] == 61


def test_a_pattern_reads_all_that_fits(ingest: Ingest) -> None:
    files = {"log/a.csv": _log("a", "b"), "log/b.csv": _log("b", "c", start=2), "old/c.csv": _log("c")}
    artifact = ingest({"items.csv": ITEMS, **files}, interactions_file="log/*.csv")
    assert artifact.frame("interactions")["item_id"].tolist() == ["a", "b", "b", "c"]


def test_files_of_which_it_is_not_clear_whether_all_are_meant_are_refused(ingest: Ingest) -> None:
    files = {
        "items.csv": ITEMS,
        "interactions.csv": _log("a", "b"),
        "interactions_2026-11-25.csv": _log("b", "c", start=2),
    }
    message = r"found interactions\.csv, interactions_2026-11-25\.csv; set .*'interactions\*\.csv' to read all"
    with pytest.raises(DataError, match=message):
        ingest(files)
    assert ingest(files, interactions_file="interactions*.csv").counts["n_interactions"] == 4


SPLITS = {"train": _log("a", "b"), "valid": _log("c", start=2), "test": _log("a", start=3)}


@pytest.mark.parametrize("name", ["interactions.{}.csv", "{}.csv", "interactions/{}-00000-of-00001.csv"])
def test_given_split_files(ingest: Ingest, name: str) -> None:
    files = {"items.csv": ITEMS, **{name.format(split): text for split, text in SPLITS.items()}}
    events = ingest(files, split="column").frame("interactions")
    assert events["split"].tolist() == ["train", "train", "valid", "test"]
    with pytest.raises(DataError, match=r"are given splits; set ingest\.split=column to keep them"):
        ingest(files)
    pattern = name.format("*")  # the catalogue fits it too, but is taken
    assert ingest(files, interactions_file=pattern).counts["n_interactions"] == 4


def test_given_split_files_of_recbole(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"toys.item": "item_id:token\ttitle:token_seq\na\tGlue\nb\tWire\nc\tOil\n"}
    for split, text in SPLITS.items():
        header, *rows = text.replace(",", "\t").splitlines()
        header = "\t".join(f"{name}:token" for name in header.split("\t"))
        files[f"toys.{split}.inter"] = "\n".join([header, *rows]) + "\n"
    artifact = ingest(files, source="recbole", split="column")
    assert artifact.frame("interactions")["split"].tolist() == ["train", "train", "valid", "test"]


def test_every_file_that_is_read_is_a_raw_input(ingest: Ingest, tmp_path: object) -> None:
    ingest({"items.csv": ITEMS, "interactions/1.csv": _log("a", "b"), "interactions/2.csv": _log("c", "a", start=2)})
    inputs = STAGE.raw_inputs(IngestConfig(source="tables", path=f"{tmp_path}/raw"))
    assert list(inputs) == ["items/items.csv", "interactions/interactions/1.csv", "interactions/interactions/2.csv"]


def test_an_empty_folder_and_a_pattern_without_a_match(ingest: Ingest) -> None:
    with pytest.raises(DataError, match=r"interactions: the folder holds no files"):
        ingest({"items.csv": ITEMS, "interactions/_SUCCESS": ""})
    with pytest.raises(DataError, match=r"no file fits this pattern; see ingest\.interactions_file"):
        ingest({"items.csv": ITEMS}, interactions_file="log*.csv")


def test_rows_are_counted_in_each_file(ingest: Ingest) -> None:
    files = {"items.csv": ITEMS, "interactions/1.csv": _log("a", "b"), "interactions/2.csv": _log("a") + "u,b,x\n"}
    with pytest.raises(DataError, match=r"2\.csv: row 2, field timestamp: 'x' is not a number"):
        ingest(files)


@pytest.mark.parametrize(
    ("name", "message"), [("_delta_log", "a Delta table"), ("_temporary", "Spark has not finished")]
)
def test_folders_whose_files_are_not_all_meant_are_refused(ingest: Ingest, name: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"interactions: {message}"):
        ingest({"items.csv": ITEMS, "interactions/part-0.csv": _log("a"), f"interactions/{name}/0": ""})
