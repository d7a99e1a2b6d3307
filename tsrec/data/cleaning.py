"""Cleaning item texts: HTML entities and tags, white space, length."""

import html
import re
import warnings

import pandas as pd
from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning

from tsrec.columns import Columns as C

FIELDS = (C.TITLE, C.DESCRIPTION, C.BRAND, C.CATEGORIES)
_TAG = re.compile(r"<[a-zA-Z/!]")


def clean_text(text: object) -> str:
    """Plain text of a raw value: entities resolved, tags removed, white space folded; missing values are empty."""
    if not isinstance(text, str):
        if text is None or text != text:
            return ""
        text = str(text)
    if "&" in text:
        text = html.unescape(html.unescape(text))  # review sites escape twice
    if _TAG.search(text):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
            soup = BeautifulSoup(text, "html.parser")
        for hidden in soup(["script", "style"]):
            hidden.decompose()
        text = soup.get_text(" ")
    return " ".join(text.split())


def clean_items(raw: pd.DataFrame, text_fields: tuple[str, ...], max_chars: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """Clean all fields and join `text_fields` into `text`; returns the items and what was counted.

    An item without any text takes its id as its text; one without a title takes its text's beginning.

    Args:
        raw: item_id and any of title, description, brand, categories, as they came.
        text_fields: fields that make up `text`, in order.
        max_chars: characters of `text` that are kept.
    """
    items = pd.DataFrame({C.ITEM: raw[C.ITEM].astype(str)})
    for field in FIELDS:
        items[field] = raw[field].map(clean_text) if field in raw else ""
    parts = [items[field] for field in text_fields]
    text = pd.Series(["; ".join(filter(None, values)) for values in zip(*parts, strict=True)], index=items.index)
    counts = {"n_items_without_text": int((text == "").sum()), "n_texts_cut": int((text.str.len() > max_chars).sum())}
    items[C.TEXT] = text.where(text != "", items[C.ITEM]).str.slice(0, max_chars)
    untitled = items[C.TITLE] == ""
    counts["n_items_without_title"] = int(untitled.sum())
    items[C.TITLE] = items[C.TITLE].where(~untitled, items[C.TEXT].str.slice(0, 80))
    return items, counts
