"""Items: one text of several fields, a title for each."""

import pandas as pd

from tsrec.data.cleaning import clean_items


def test_text_joins_the_chosen_fields_that_are_not_empty() -> None:
    raw = pd.DataFrame({"item_id": [7], "title": ["Glue"], "brand": [""], "description": ["Sticks &amp; holds"]})
    items, counts = clean_items(raw, ("title", "brand", "description"), max_chars=100)
    assert items["item_id"].tolist() == ["7"]
    assert items["text"].tolist() == ["Glue; Sticks & holds"]
    assert {name: count for name, count in counts.items() if count} == {"n_texts_with_markup": 1}


def test_an_untitled_item_takes_its_texts_beginning() -> None:
    raw = pd.DataFrame({"item_id": ["a"], "title": [None], "description": ["Sticks"]})
    items, counts = clean_items(raw, ("title", "description"), max_chars=100)
    assert items["title"].tolist() == ["Sticks"]
    assert counts["n_items_without_title"] == 1
