"""Ids join, print and paste as they are: what a terminal obeys is written out, what is no id is refused."""

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import Ingest
from tsrec.data.ids import ids_as_text, invalid_ids
from tsrec.errors import DataError


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("-ASu,C c", "-ASu,C c"),
        (" 007 ", " 007 "),
        (7, "7"),
        (7.0, "7"),
        (b"A1", "A1"),
        (b"\xff\x00\x1b", "ff001b"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("\u202egnp", r"\u202egnp"),
        ("half \ud83d", r"half \ud83d"),
        ("a\u2028b", r"a\u2028b"),
        ("Zoë\u200d😀", "Zoë\u200d😀"),
    ],
)
def test_ids_as_text(raw: object, text: str) -> None:
    for values in (pd.Series([raw], dtype=object), *([pd.Series([raw])] if isinstance(raw, int | float) else [])):
        ids, n_escaped = ids_as_text(values, Path("log.csv"))
        assert ids.tolist() == [text]
        assert n_escaped == (isinstance(raw, str) and raw != text)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1)))
def test_ids_of_text_columns_and_of_objects_are_the_same(raw: list[str]) -> None:
    """Two files of different formats have to meet."""
    text, objects = (
        ids_as_text(pd.Series(raw, dtype="str"), Path("a")),
        ids_as_text(pd.Series(raw, dtype=object), Path("b")),
    )
    assert text[0].tolist() == objects[0].tolist()
    assert text[1] == objects[1]


@pytest.mark.parametrize("value", [["a"], {"id": 1}, True])
def test_what_is_no_id_is_refused(ingest: Ingest, value: object) -> None:
    assert invalid_ids(pd.Series([value], dtype=object)).tolist() == [True]
    items = json.dumps({"item_id": "a", "title": "Glue"}) + "\n"
    row = json.dumps({"user_id": value, "item_id": "a", "timestamp": 1}) + "\n"
    with pytest.raises(DataError, match=r"interactions\.jsonl: row 1, field user_id: .* is not an id"):
        ingest({"items.jsonl": items, "interactions.jsonl": row})


def test_escaped_ids_meet_and_are_counted(ingest: Ingest) -> None:
    items = '{"item_id": "a\\u001b[0m", "title": "Glue"}\n'
    rows = "".join(f'{{"user_id": "u\\ud83d", "item_id": "a\\u001b[0m", "timestamp": {n}}}\n' for n in range(4))
    artifact = ingest({"items.jsonl": items, "interactions.jsonl": rows})
    assert artifact.frame("interactions")["user_id"].unique().tolist() == [r"u\ud83d"]
    assert artifact.frame("interactions")["item_id"].unique().tolist() == [r"a\x1b[0m"]
    assert (artifact.counts["n_item_ids_escaped"], artifact.counts["n_interaction_ids_escaped"]) == (1, 8)
