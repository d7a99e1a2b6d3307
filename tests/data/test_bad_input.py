"""Every kind of bad input: an error that names file, row and field, or a count where skipping is right."""

import gzip
import io

import pandas as pd
import pytest

from tests.data.conftest import EVENTS, ITEMS, Ingest
from tsrec.errors import ConfigError, DataError, TsrecError

HEADER = "user_id,item_id,timestamp\n"


def _refused(ingest: Ingest, files: dict[str, str | bytes], *parts: str, **config: object) -> None:
    with pytest.raises(TsrecError) as caught:
        ingest(files, **config)
    for part in parts:
        assert part in str(caught.value)


def test_no_path(ingest: Ingest) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.path: source 'tables' needs the folder"):
        ingest({}, path=None)


def test_missing_folder(ingest: Ingest) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder; set ingest\.path"):
        ingest({}, path="nowhere")


def test_missing_file(ingest: Ingest) -> None:
    _refused(
        ingest,
        {"items.csv": ITEMS},
        "expected one file interactions.* or train.*, found none; set ingest.interactions_file (there is items.csv)",
    )


def test_missing_named_file(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"items.csv": ITEMS, "interactions.csv": EVENTS}
    _refused(ingest, files, "log.csv: no such file", interactions_file="log.csv")


def test_two_files_that_fit(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"items.csv": ITEMS, "items.tsv": "", "interactions.csv": EVENTS}
    _refused(ingest, files, "found items.csv, items.tsv; set ingest.items_file")


def test_missing_column(ingest: Ingest) -> None:
    bad = EVENTS.replace("timestamp", "when")
    _refused(
        ingest,
        {"items.csv": ITEMS, "interactions.csv": bad},
        "interactions.csv: no column timestamp (for timestamp); it has user_id, item_id, when; "
        "map it in ingest.interaction_columns",
    )


def test_missing_mapped_column(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"items.csv": ITEMS, "interactions.csv": EVENTS}
    _refused(ingest, files, "items.csv: no column maker (for brand)", item_columns={"brand": "maker"})


def test_missing_split_column(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"items.csv": ITEMS, "interactions.csv": EVENTS}
    _refused(ingest, files, "interactions.csv: no column split, which ingest.split=column needs", split="column")


def test_missing_rating_column(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"items.csv": ITEMS, "interactions.csv": EVENTS}
    _refused(ingest, files, "interactions.csv: no column rating, which ingest.min_rating needs", min_rating=3)


def test_unparsable_csv_line(ingest: Ingest) -> None:
    bad = EVENTS + "u,a,5,6,7\n"
    _refused(
        ingest,
        {"items.csv": ITEMS, "interactions.csv": bad},
        "interactions.csv: row 5 has 5 fields, expected 3: 'u,a,5,6,7'",
    )


def test_more_fields_than_the_header(ingest: Ingest) -> None:
    _refused(
        ingest,
        {"items.csv": ITEMS, "interactions.csv": HEADER + "u,a,0,1\n"},
        "interactions.csv: row 1 has 4 fields, expected 3: 'u,a,0,1'",
    )


@pytest.mark.parametrize(("name", "separator"), [("interactions.csv", ","), ("interactions.tsv", "\t")])
def test_too_few_fields(ingest: Ingest, name: str, separator: str) -> None:
    """Nothing is made up for the missing ones, even where they are not needed."""
    log = ("user_id,item_id,timestamp,rating\nu,a,1,5\n\nu,b,2\n").replace(",", separator)
    bad = f"{name}: row 2 has 3 fields, expected 4: {f'u{separator}b{separator}2'!r}; mend the row"
    _refused(ingest, {"items.csv": ITEMS, name: log}, bad)


@pytest.mark.parametrize(
    ("line", "message"), [('{"item_id": ', "not a JSON object"), ("[1, 2]", "expected a JSON object, found a list")]
)
def test_unparsable_json_line(ingest: Ingest, line: str, message: str) -> None:
    bad = '{"item_id": "a", "title": "Glue"}\n' + line + "\n"
    _refused(ingest, {"items.jsonl": bad, "interactions.csv": EVENTS}, "items.jsonl: line 2:", message)


@pytest.mark.parametrize("name", ["items.jsonl.gz", "items.csv.gz"])
def test_truncated_gzip(ingest: Ingest, name: str) -> None:
    rows = [f'{{"item_id": "{n}", "title": "{hash(str(n))}"}}' for n in range(2000)]
    if ".csv" in name:
        rows = ["item_id,title", *(f"{n},{hash(str(n))}" for n in range(2000))]
    whole = gzip.compress("\n".join(rows).encode())
    for cut in (len(whole) // 2, len(whole) - 4):
        files: dict[str, str | bytes] = {name: whole[:cut], "interactions.csv": EVENTS}
        _refused(ingest, files, f"{name}: the gzip stream ends too early; the file is cut off")


@pytest.mark.parametrize("name", ["items.jsonl.gz", "items.csv.gz"])
def test_not_gzip(ingest: Ingest, name: str) -> None:
    _refused(ingest, {name: ITEMS, "interactions.csv": EVENTS}, f"{name}: not a readable gzip file")


def test_truncated_parquet(ingest: Ingest) -> None:
    buffer = io.BytesIO()
    pd.DataFrame({"item_id": ["a"], "title": ["Glue"]}).to_parquet(buffer)
    files: dict[str, str | bytes] = {"items.parquet": buffer.getvalue()[:-9], "interactions.csv": EVENTS}
    _refused(ingest, files, "items.parquet: not a readable Parquet file")


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
    _refused(
        ingest,
        {name: content, "interactions.csv": EVENTS},
        f"{name}: line 3: not UTF-8; set ingest.items_format.encoding=latin-1",
    )


@pytest.mark.parametrize("content", ["", "\n"])
def test_empty_file(ingest: Ingest, content: str) -> None:
    _refused(ingest, {"items.csv": content, "interactions.csv": EVENTS}, "items.csv: the file is empty")


@pytest.mark.parametrize(("name", "content"), [("items.csv", "item_id,title\n"), ("items.jsonl", "")])
def test_empty_items(ingest: Ingest, name: str, content: str) -> None:
    _refused(ingest, {name: content, "interactions.csv": EVENTS}, f"{name}: the table holds no items")


def test_empty_interactions(ingest: Ingest) -> None:
    _refused(
        ingest,
        {"items.csv": ITEMS, "interactions.csv": HEADER},
        "interactions.csv: the table holds no interactions",
    )


def test_nothing_left_after_filtering(ingest: Ingest) -> None:
    files: dict[str, str | bytes] = {"items.csv": ITEMS, "interactions.csv": EVENTS}
    _refused(ingest, files, "interactions.csv: no interaction is left; see ingest.drop_users", since="4")


def test_of_an_item_that_stands_twice_in_a_file_the_last_row_counts(ingest: Ingest) -> None:
    twice = ingest({"items.csv": ITEMS + "a,More glue\n", "interactions.csv": EVENTS})
    assert twice.frame("items").set_index("item_id")["title"].to_dict() == {"a": "More glue", "b": "Wire", "c": "Oil"}
    assert twice.counts["n_repeated_items"] == 1
    (loss,) = [loss for loss in twice.json("losses") if "repeat an item" in loss["text"]]
    assert loss["is_warning"]
    assert "1 of 4 rows (25.0%)" in loss["text"]
    assert "the last row counts; e.g. 'a' in row 4 of items.csv" in loss["text"]


def test_a_file_of_items_that_is_in_fact_a_log_is_refused(ingest: Ingest) -> None:
    """Else a column of the wrong ids would leave a catalogue of a few items, with exit code 0."""
    log = ITEMS + "".join(f"{item},Again\n" for item in "abcabc")
    files: dict[str, str | bytes] = {"items.csv": log, "interactions.csv": EVENTS}
    _refused(ingest, files, "6 of 9 rows (66.7%) repeat an item", "name it in ingest.items_file and in")


@pytest.mark.parametrize("value", ["yesterday", "inf", "1e30", "2020-13-01"])
def test_timestamp_that_does_not_parse(ingest: Ingest, value: str) -> None:
    """The row is named even where dates that do parse come before it."""
    bad = EVENTS + f"u,a,2020-01-01\nu,b,{value}\n"
    _refused(
        ingest,
        {"items.csv": ITEMS, "interactions.csv": bad},
        f"interactions.csv: row 6, field timestamp: '{value}' is not a number or an ISO date",
    )


def test_split_mark_that_does_not_exist(ingest: Ingest) -> None:
    bad = "user_id,item_id,timestamp,split\nu,a,0,train\nu,b,1,dev\n"
    _refused(
        ingest,
        {"items.csv": ITEMS, "interactions.csv": bad},
        "interactions.csv: row 2, field split: 'dev' is not one of train, valid, test, history",
        split="column",
    )


def test_rating_that_does_not_parse(ingest: Ingest) -> None:
    bad = "user_id,item_id,timestamp,rating\nu,a,0,5\nu,b,1,good\n"
    _refused(
        ingest,
        {"items.csv": ITEMS, "interactions.csv": bad},
        "interactions.csv: row 2, field rating: 'good' is not a number",
        min_rating=3,
    )


@pytest.mark.parametrize("field", ["since", "until"])
def test_window_that_does_not_parse(ingest: Ingest, field: str) -> None:
    with pytest.raises(ConfigError, match=rf"ingest\.{field}: 'spring' is neither a number nor an ISO date"):
        ingest(**{field: "spring"})


def test_interactions_with_unknown_items_are_skipped_and_counted(ingest: Ingest) -> None:
    artifact = ingest({"items.csv": ITEMS, "interactions.csv": EVENTS + "u,z,9\nw,z,9\n"}, max_loss=0.5)
    assert artifact.counts["n_interactions_read"] == 6
    assert artifact.counts["n_interactions_with_unknown_items"] == 2
    assert artifact.counts["n_users"] == 1
    assert artifact.frame("interactions")["position"].tolist() == [0, 1, 2, 3]


def test_users_too_short_to_split_only_train_and_are_counted(ingest: Ingest) -> None:
    artifact = ingest({"items.csv": ITEMS, "interactions.csv": EVENTS + "v,a,0\nv,b,1\nw,c,0\n"})
    events = artifact.frame("interactions")
    assert artifact.counts["n_users_too_short_to_split"] == 2
    assert set(events["split"][events["user_id"] != "u"]) == {"train"}
    assert events["split"][events["user_id"] == "u"].tolist() == ["train", "train", "valid", "test"]


def test_an_item_with_no_text_takes_its_id_and_is_counted(ingest: Ingest) -> None:
    artifact = ingest({"items.csv": "item_id,title\na, <br> \nb,Wire\nc,Oil\nd,Jar\n", "interactions.csv": EVENTS})
    assert artifact.counts["n_items_without_text"] == 1
    assert artifact.frame("items")["text"].tolist() == ["a", "Wire", "Oil", "Jar"]


def test_texts_that_are_cut_are_counted(ingest: Ingest) -> None:
    artifact = ingest({"items.csv": ITEMS + f"d,{'x' * 20}\n", "interactions.csv": EVENTS}, max_text_chars=16)
    assert artifact.counts["n_texts_cut"] == 1
    assert artifact.frame("items")["text"].tolist()[-1] == "x" * 16
