"""Every kind of bad input: an error that names file, row and field, or a count where skipping is right."""

import gzip
from typing import Any

import pytest

from tests.data.conftest import EVENTS, HEADER, ITEMS, Ingest, parquet, with_items, with_log
from tsrec.errors import ConfigError, DataError

BOTH: dict[str, str | bytes] = {"items.csv": ITEMS, "interactions.csv": EVENTS}
HALF = parquet({"item_id": ["a"], "title": ["Glue"]})[:-9]
GOOD_LINE = '{"item_id": "a", "title": "Glue"}\n'


REFUSED: dict[str, tuple[dict[str, str | bytes], dict[str, Any], str]] = {
    "no path": ({}, {"path": None}, "ingest.path: source 'tables' needs the folder"),
    "no folder": ({}, {"path": "nowhere"}, "nowhere: no such folder; set ingest.path"),
    "no file": (
        {"items.csv": ITEMS},
        {},
        "expected one file interactions.* or train.*, found none; set ingest.interactions_file (there is items.csv)",
    ),
    "no such file": (BOTH, {"interactions_file": "log.csv"}, "log.csv: no such file"),
    "two files": ({**BOTH, "items.tsv": ""}, {}, "found items.csv, items.tsv; set ingest.items_file"),
    "no column": (
        with_log(EVENTS.replace("timestamp", "when")),
        {},
        "interactions.csv: no column timestamp (for timestamp); it has user_id, item_id, when; "
        "map it in ingest.interaction_columns",
    ),
    "no mapped column": (BOTH, {"item_columns": {"brand": "maker"}}, "items.csv: no column maker (for brand)"),
    "no split": (BOTH, {"split": "column"}, "interactions.csv: no column split, which ingest.split=column needs"),
    "no rating": (BOTH, {"min_rating": 3}, "interactions.csv: no column rating, which ingest.min_rating needs"),
    "a row too long": (
        with_log(EVENTS + "u,a,5,6,7\n"),
        {},
        "interactions.csv: row 5 has 5 fields, expected 3: 'u,a,5,6,7'",
    ),
    "the first row too long": (
        with_log(HEADER + "u,a,0,1\n"),
        {},
        "interactions.csv: row 1 has 4 fields, expected 3: 'u,a,0,1'",
    ),
    # Nothing is made up for missing fields, even where they are not needed.
    "a row too short": (
        with_log("user_id,item_id,timestamp,rating\nu,a,1,5\n\nu,b,2\n"),
        {},
        "interactions.csv: row 2 has 3 fields, expected 4: 'u,b,2'; mend the row",
    ),
    "a row of a TSV too short": (
        {"items.csv": ITEMS, "interactions.tsv": "user_id\titem_id\ttimestamp\trating\nu\ta\t1\t5\n\nu\tb\t2\n"},
        {},
        r"interactions.tsv: row 2 has 3 fields, expected 4: 'u\tb\t2'; mend the row",
    ),
    "half a line of JSON": (
        with_items(GOOD_LINE + '{"item_id": \n', "items.jsonl"),
        {},
        "items.jsonl: line 2: not a JSON object",
    ),
    "a line of JSON that is a list": (
        with_items(GOOD_LINE + "[1, 2]\n", "items.jsonl"),
        {},
        "items.jsonl: line 2: expected a JSON object, found a list",
    ),
    "no gzip of CSV": (with_items(ITEMS, "items.csv.gz"), {}, "items.csv.gz: not a readable gzip file"),
    "no gzip of JSON": (with_items(ITEMS, "items.jsonl.gz"), {}, "items.jsonl.gz: not a readable gzip file"),
    "half a Parquet": (with_items(HALF, "items.parquet"), {}, "items.parquet: not a readable Parquet file"),
    "nothing": (with_items(""), {}, "items.csv: the file is empty"),
    "an empty line": (with_items("\n"), {}, "items.csv: the file is empty"),
    "no items": (with_items("item_id,title\n"), {}, "items.csv: the table holds no items"),
    "no items of JSON": (with_items("", "items.jsonl"), {}, "items.jsonl: the table holds no items"),
    "no interactions": (with_log(HEADER), {}, "interactions.csv: the table holds no interactions"),
    "nothing left": (BOTH, {"since": "4"}, "interactions.csv: no interaction is left; see ingest.drop_users"),
    "a split that is none": (
        with_log("user_id,item_id,timestamp,split\nu,a,0,train\nu,b,1,dev\n"),
        {"split": "column"},
        "interactions.csv: row 2, field split: 'dev' is not one of train, valid, test, history",
    ),
    "a rating that is none": (
        with_log("user_id,item_id,timestamp,rating\nu,a,0,5\nu,b,1,good\n"),
        {"min_rating": 3},
        "interactions.csv: row 2, field rating: 'good' is not a number",
    ),
    "since when": (BOTH, {"since": "spring"}, "ingest.since: 'spring' is neither a number nor an ISO date"),
    "until when": (BOTH, {"until": "spring"}, "ingest.until: 'spring' is neither a number nor an ISO date"),
}


@pytest.mark.parametrize(("files", "config", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_named(
    ingest: Ingest, files: dict[str, str | bytes], config: dict[str, Any], message: str
) -> None:
    is_setting = message.startswith("ingest.")
    with pytest.raises(ConfigError if is_setting else DataError) as caught:
        ingest(files, **config)
    assert message in str(caught.value)


# The row is named even where dates that do parse come before it.
@pytest.mark.parametrize("value", ["yesterday", "inf", "1e30", "2020-13-01"])
def test_timestamp_that_does_not_parse(ingest: Ingest, value: str) -> None:
    with pytest.raises(DataError) as caught:
        ingest(with_log(EVENTS + f"u,a,2020-01-01\nu,b,{value}\n"))
    assert f"interactions.csv: row 6, field timestamp: '{value}' is not a number or an ISO date" in str(caught.value)


@pytest.mark.parametrize("name", ["items.jsonl.gz", "items.csv.gz"])
def test_truncated_gzip(ingest: Ingest, name: str) -> None:
    rows = [f'{{"item_id": "{n}", "title": "{hash(str(n))}"}}' for n in range(2000)]
    if ".csv" in name:
        rows = ["item_id,title", *(f"{n},{hash(str(n))}" for n in range(2000))]
    whole = gzip.compress("\n".join(rows).encode())
    for cut in (len(whole) // 2, len(whole) - 4):
        with pytest.raises(DataError, match=f"{name}: the gzip stream ends too early; the file is cut off"):
            ingest(with_items(whole[:cut], name))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("items.csv", b"item_id,title\na,Glue\nb,Caf\xe9\n"),
        ("items.tsv", b"item_id\ttitle\na\tGlue\nb\tCaf\xe9\n"),
        ("items.jsonl", b'\n{"item_id": "a", "title": "Glue"}\n{"item_id": "b", "title": "Caf\xe9"}\n'),
        ("items.csv.gz", gzip.compress(b"item_id,title\na,Glue\nb,Caf\xe9\n", mtime=0)),
    ],
)
def test_not_utf8(ingest: Ingest, name: str, content: bytes) -> None:
    with pytest.raises(DataError, match=rf"{name}: line 3: not UTF-8; set ingest\.items_format\.encoding=latin-1"):
        ingest(with_items(content, name))


def test_of_an_item_that_stands_twice_in_a_file_the_last_row_counts(ingest: Ingest) -> None:
    twice = ingest(with_items(ITEMS + "a,More glue\n"))
    assert twice.frame("items").set_index("item_id")["title"].to_dict() == {"a": "More glue", "b": "Wire", "c": "Oil"}
    assert twice.counts["n_repeated_items"] == 1
    (loss,) = [loss for loss in twice.json("losses") if "repeat an item" in loss["text"]]
    assert loss["is_warning"]
    assert "1 of 4 rows (25.0%)" in loss["text"]
    assert "the last row counts; e.g. 'a' in row 4 of items.csv" in loss["text"]


def test_a_file_of_items_that_is_in_fact_a_log_is_refused(ingest: Ingest) -> None:
    """Else a column of the wrong ids would leave a catalogue of a few items, with exit code 0."""
    log = ITEMS + "".join(f"{item},Again\n" for item in "abcabc")
    with pytest.raises(
        DataError, match=r"6 of 9 rows \(66\.7%\) repeat an item.* name it in ingest\.items_file and in"
    ):
        ingest(with_items(log))


def test_interactions_with_unknown_items_are_skipped_and_counted(ingest: Ingest) -> None:
    artifact = ingest(with_log(EVENTS + "u,z,9\nw,z,9\n"), max_loss=0.5)
    assert artifact.counts["n_interactions_read"] == 6
    assert artifact.counts["n_interactions_with_unknown_items"] == 2
    assert artifact.counts["n_users"] == 1
    assert artifact.frame("interactions")["position"].tolist() == [0, 1, 2, 3]


def test_users_too_short_to_split_only_train_and_are_counted(ingest: Ingest) -> None:
    artifact = ingest(with_log(EVENTS + "v,a,0\nv,b,1\nw,c,0\n"))
    events = artifact.frame("interactions")
    assert artifact.counts["n_users_too_short_to_split"] == 2
    assert set(events["split"][events["user_id"] != "u"]) == {"train"}
    assert events["split"][events["user_id"] == "u"].tolist() == ["train", "train", "valid", "test"]


def test_an_item_with_no_text_takes_its_id_and_is_counted(ingest: Ingest) -> None:
    artifact = ingest(with_items("item_id,title\na, <br> \nb,Wire\nc,Oil\nd,Jar\n"))
    assert artifact.counts["n_items_without_text"] == 1
    assert artifact.frame("items")["text"].tolist() == ["a", "Wire", "Oil", "Jar"]


def test_texts_that_are_cut_are_counted(ingest: Ingest) -> None:
    artifact = ingest(with_items(ITEMS + f"d,{'x' * 20}\n"), max_text_chars=16)
    assert artifact.counts["n_texts_cut"] == 1
    assert artifact.frame("items")["text"].tolist()[-1] == "x" * 16
