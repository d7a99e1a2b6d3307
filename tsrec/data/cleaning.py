"""Items from raw columns: plain texts, one `text` made of several fields, a title for each."""

from collections import Counter

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.data.texts import COUNTED, clean_text

# Each field with what joins the parts of a list: paragraphs, several makers, genres.
FIELDS = {C.TITLE: " ", C.DESCRIPTION: " ", C.BRAND: ", ", C.CATEGORIES: ", "}


def clean_items(raw: pd.DataFrame, text_fields: tuple[str, ...], max_chars: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """Clean all fields and join `text_fields` into `text`; returns the items and what was counted.

    An item without any text takes its id as its text; one without a title takes its text's beginning.

    Args:
        raw: item_id and any of title, description, brand, categories, as they came.
        text_fields: fields that make up `text`, in order.
        max_chars: characters of `text` that are kept.
    """
    items = pd.DataFrame({C.ITEM: raw[C.ITEM].astype(str)})
    done = Counter[str]()
    for field, joiner in FIELDS.items():
        items[field] = [clean_text(value, joiner, done) for value in raw[field]] if field in raw else ""
    parts = [items[field] for field in text_fields]
    text = pd.Series(["; ".join(filter(None, values)) for values in zip(*parts, strict=True)], index=items.index)
    counts = {name: done[name] for name in COUNTED}
    counts["n_items_without_text"] = int((text == "").sum())
    counts["n_texts_cut"] = int((text.str.len() > max_chars).sum())
    items[C.TEXT] = text.where(text != "", items[C.ITEM]).str.slice(0, max_chars)
    untitled = items[C.TITLE] == ""
    counts["n_items_without_title"] = int(untitled.sum())
    items[C.TITLE] = items[C.TITLE].where(~untitled, items[C.TEXT].str.slice(0, 80))
    return items, counts
