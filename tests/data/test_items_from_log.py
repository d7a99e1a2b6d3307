"""Items out of the log of interactions, where there is no file of items."""

import json
from typing import Any

import pytest

from tests.data.conftest import ITEMS, Ingest
from tsrec.errors import DataError

PLAYS = """user,track,name,artist,timestamp,kind
u,a,Glue,X,1,play
u,b,Wire,,2,play
v,b,,Y,3,play
u,c,null,X,4,play
v,a,Better glue, ,5,play
u,a,,X,6,play
v,d,Skipped,X,7,skip
"""
COLUMNS: dict[str, Any] = {
    "interactions_file": "plays.csv",
    "interaction_columns": {"user_id": "user", "item_id": "track"},
    "item_columns": {"title": "name", "brand": "artist"},
    "split": "time",
}


def _items(ingest: Ingest, log: str = PLAYS, **config: Any) -> dict[str, tuple[str, str]]:
    items = ingest({"plays.csv": log}, **{**COLUMNS, **config}).frame("items")
    return {
        item: (title, brand)
        for item, title, brand in zip(items["item_id"], items["title"], items["brand"], strict=True)
    }


@pytest.mark.parametrize("items_file", [None, "plays.csv"])
def test_the_last_text_that_is_not_empty_counts(ingest: Ingest, items_file: str | None) -> None:
    found = _items(ingest, items_file=items_file)
    assert found == {"a": ("Better glue", "X"), "b": ("Wire", "Y"), "c": ("X", "X"), "d": ("Skipped", "X")}


def test_kinds_of_events_that_are_left_out_bring_no_items(ingest: Ingest) -> None:
    assert list(_items(ingest, keep={"kind": ["play"]})) == ["a", "b", "c"]
    with pytest.raises(DataError, match=r"plays\.csv: ingest\.keep leaves no interaction: kind is never 'plays'"):
        _items(ingest, keep={"kind": ["plays"]})


def test_items_in_nested_events_and_many_files(ingest: Ingest) -> None:
    def line(user: str, items: str, name: str) -> str:
        games = [{"id": ord(item), "name": name and f"{name} {item}"} for item in items]
        return json.dumps({"user": user, "games": games}) + "\n"

    artifact = ingest(
        {"log_1.jsonl": line("u", "abca", "Old") + line("v", "ab", "New"), "log_2.jsonl": line("w", "bbcd", "")},
        interactions_file="log_*.jsonl",
        order="rows",
        interaction_columns={"user_id": "user", "item_id": "games.id"},
        item_columns={"title": "games.name"},
    )
    items = artifact.frame("items")
    assert dict(zip(items["item_id"], items["title"], strict=True)) == {
        "97": "New a",
        "98": "New b",
        "99": "Old c",
        "100": "100",
    }
    assert artifact.counts["n_interactions_with_unknown_items"] == 0


def test_a_file_of_items_goes_before_the_log(ingest: Ingest) -> None:
    files = {"items.csv": ITEMS, "plays.csv": PLAYS.replace("v,d", "v,c")}
    artifact = ingest(files, **{**COLUMNS, "item_columns": {"title": "title"}})
    assert artifact.frame("items")["title"].tolist() == ["Glue", "Wire", "Oil"]


def test_refusals_say_how_items_are_taken_out_of_the_log(ingest: Ingest) -> None:
    with pytest.raises(DataError, match=r"items\.\*, found none; .* map ingest\.item_columns onto them"):
        _items(ingest, item_columns={})
    with pytest.raises(
        DataError, match=r"plays\.csv: no column title .*; map it in ingest\.item_columns, or name a file"
    ):
        _items(ingest, item_columns={"title": "title"})
