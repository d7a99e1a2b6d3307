"""Events that are nested in rows, a session a line, become a row each."""

import pandas as pd
import pytest

from tests.data.conftest import HEADER, ITEMS, Ingest, json_lines, parquet
from tsrec.errors import DataError

SESSIONS = [
    {
        "session": session,
        "events": [
            {"aid": item, "ts": 1659304800025 + place, "type": "orders" if item == "b" else "clicks"}
            for place, item in enumerate(items)
        ],
    }
    for session, items in ((1, "abcaca"), (2, "bcbaca"), (3, ""))
]
COLUMNS = {"user_id": "session", "item_id": "events.aid", "timestamp": "events.ts"}


FORMATS: dict[str, str | bytes] = {
    "log.jsonl": json_lines(SESSIONS),
    "log.json": "".join(f"{row!r}\n" for row in SESSIONS),  # Python literals
    "log.csv": pd.DataFrame(SESSIONS).to_csv(index=False),
    "log.parquet": parquet(SESSIONS),
}


@pytest.mark.parametrize("name", FORMATS)
def test_sessions_unfold(ingest: Ingest, name: str) -> None:
    files = {"items.csv": ITEMS, name: FORMATS[name]}
    artifact = ingest(files, interactions_file=name, interaction_columns=COLUMNS)
    events = artifact.frame("interactions")
    assert events.groupby("user_id")["item_id"].agg("".join).to_dict() == {"1": "abcaca", "2": "bcbaca"}
    assert events["timestamp"].tolist() == [1659304800025 + place for _ in range(2) for place in range(6)]
    assert artifact.counts["n_interactions_read"] == 12
    kept = ingest(files, interactions_file=name, interaction_columns=COLUMNS, keep={"events.type": ["clicks"]})
    assert kept.frame("interactions").groupby("user_id")["item_id"].agg("".join).to_dict() == {
        "1": "acaca",
        "2": "caca",
    }


@pytest.mark.parametrize("name", FORMATS)
def test_the_first_refusal_says_what_the_list_holds(ingest: Ingest, name: str) -> None:
    files = {"items.csv": ITEMS, name: FORMATS[name]}
    held = r"it has session, events; .*; its lists and objects hold events\.aid, events\.ts, events\.type$"
    for columns in ({}, {"user_id": "session", "item_id": "events.id"}):
        with pytest.raises(DataError, match=held):
            ingest(files, interactions_file=name, interaction_columns=columns)


def test_a_list_that_is_mapped_as_a_whole(ingest: Ingest) -> None:
    columns = {"user_id": "session", "item_id": "events", "timestamp": "session"}
    with pytest.raises(DataError, match=r"row 1, field item_id: .{120}\.\.\. is not an id; .* COLUMN\.aid, COLUMN\.ts"):
        ingest(
            {"items.csv": ITEMS, "log.jsonl": FORMATS["log.jsonl"]},
            interactions_file="log.jsonl",
            interaction_columns=columns,
        )


def test_lists_within_lists_and_objects(ingest: Ingest) -> None:
    visits = [{"at": at, "seen": [{"sku": item} for item in items]} for at, items in ((5, "ab"), (9, "ca"))]
    columns = {"user_id": "user.id", "item_id": "visits.seen.sku", "timestamp": "visits.at"}
    log = json_lines([{"user": {"id": 7}, "visits": visits}])
    events = ingest({"items.csv": ITEMS, "interactions.jsonl": log}, interaction_columns=columns).frame("interactions")
    assert events["user_id"].unique().tolist() == ["7"]
    assert list(zip(events["item_id"], events["timestamp"], strict=True)) == [("a", 5), ("b", 5), ("c", 9), ("a", 9)]


def test_a_bad_event_is_named_by_its_row(ingest: Ingest) -> None:
    bad = [*SESSIONS, {"session": 4, "events": [{"aid": "a", "ts": 1}, {"aid": "a", "ts": "soon"}]}]
    with pytest.raises(DataError, match=r"interactions\.jsonl: row 4, field timestamp: 'soon' is not a number"):
        ingest({"items.csv": ITEMS, "interactions.jsonl": json_lines(bad)}, interaction_columns=COLUMNS)


def test_lists_beside_each_other_are_refused(ingest: Ingest) -> None:
    log = json_lines([{"u": 1, "seen": [{"i": "a"}], "times": [{"t": 1}]}])
    columns = {"user_id": "u", "item_id": "seen.i", "timestamp": "times.t"}
    with pytest.raises(DataError, match=r"interactions\.jsonl: row 1: seen and times are lists beside each other"):
        ingest({"items.csv": ITEMS, "interactions.jsonl": log}, interaction_columns=columns)


def test_lists_of_an_item_stay_its_own(ingest: Ingest) -> None:
    shelves = [{"count": 3, "name": "Toys"}, {"count": 1, "name": "Craft"}]
    items = json_lines([{"item_id": item, "title": item, "shelves": shelves, "by": [{"name": "X"}]} for item in "abc"])
    log = HEADER + "".join(f"u,{item},{time}\n" for time, item in enumerate("abca"))
    files = {"items.jsonl": items, "interactions.csv": log}
    artifact = ingest(files, item_columns={"categories": "shelves.name", "brand": "by.name"})
    assert artifact.frame("items")["brand"].tolist() == ["X"] * 3
    assert artifact.frame("items")["categories"].tolist() == ["Toys, Craft"] * 3


def test_a_list_that_a_name_ends_at_stays_a_value(ingest: Ingest) -> None:
    items = json_lines([{"item_id": item, "title": item, "about": {"genres": ["Toys", "Craft"]}} for item in "abc"])
    artifact = ingest(
        {"items.jsonl": items, "interactions.csv": HEADER + "u,a,1\nu,b,2\nu,c,3\nu,a,4\n"},
        item_columns={"categories": "about.genres"},
    )
    assert artifact.frame("items")["categories"].tolist() == ["Toys, Craft"] * 3
