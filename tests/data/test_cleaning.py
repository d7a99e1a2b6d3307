"""Item texts come out as plain text."""

import warnings

import pandas as pd
import pytest

from tsrec.data.cleaning import clean_items, clean_text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  two\n\twords ", "two words"),
        ("Nuts &amp; bolts", "Nuts & bolts"),
        ("Nuts &amp;amp; bolts", "Nuts & bolts"),
        ("<p>Strong<br/>glue</p><!-- x -->", "Strong glue"),
        ("<script>alert(1)</script><style>b {}</style>Glue", "Glue"),
        ("&lt;b&gt;Bold&lt;/b&gt;", "Bold"),
        ("3 < 5 and 7 > 2", "3 < 5 and 7 > 2"),
        ("https://example.org/glue", "https://example.org/glue"),
        ("a\u00a0b", "a b"),
        (None, ""),
        (float("nan"), ""),
        (1984, "1984"),
    ],
)
def test_clean_text(raw: object, clean: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clean_text(raw) == clean


def test_text_joins_the_chosen_fields_that_are_not_empty() -> None:
    raw = pd.DataFrame({"item_id": [7], "title": ["Glue"], "brand": [""], "description": ["Sticks &amp; holds"]})
    items, counts = clean_items(raw, ("title", "brand", "description"), max_chars=100)
    assert items["item_id"].tolist() == ["7"]
    assert items["text"].tolist() == ["Glue; Sticks & holds"]
    assert counts == {"n_items_without_text": 0, "n_items_without_title": 0, "n_texts_cut": 0}


def test_an_untitled_item_takes_its_texts_beginning() -> None:
    raw = pd.DataFrame({"item_id": ["a"], "title": [None], "description": ["Sticks"]})
    items, counts = clean_items(raw, ("title", "description"), max_chars=100)
    assert items["title"].tolist() == ["Sticks"]
    assert counts["n_items_without_title"] == 1
