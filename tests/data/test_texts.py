"""Whatever a file holds, item texts come out as plain, printable text, and what was done is counted."""

import time
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import EVENTS, Ingest
from tsrec.data.texts import COUNTED, clean_text

LISTS, MARKUP, SCRIPTS, CONTROL, BROKEN, MISSING = COUNTED


@pytest.mark.parametrize(
    ("raw", "clean", "counted"),
    [
        ("  two\n\twords ", "two words", None),
        ("a\u00a0b", "a b", None),
        (None, "", None),
        (float("nan"), "", None),
        (pd.NA, "", None),
        (1984, "1984", None),
        (1984.0, "1984", None),
        (np.float64(4.5), "4.5", None),
        (True, "", None),
        (b"Caf\xc3\xa9", "Café", None),
        ("None", "", MISSING),
        ("nan", "", MISSING),
        # markup
        ("Nuts &amp; bolts", "Nuts & bolts", MARKUP),
        ("Nuts &amp;amp; bolts", "Nuts & bolts", MARKUP),
        ("<p>Strong<br/>glue</p><!-- x -->", "Strong glue", MARKUP),
        ("&lt;b&gt;Bold&lt;/b&gt;", "Bold", MARKUP),
        ("<FONT SIZE=2>Glue<BR>and wire", "Glue and wire", MARKUP),
        ("<o:p>Glue</o:p>", "Glue", MARKUP),
        ("<Black> & <White> <i>set</i>", "<Black> & <White> set", MARKUP),
        ("<Black> pen, <Small>", "<Black> pen, <Small>", None),
        ("3 < 5 and 7 > 2", "3 < 5 and 7 > 2", None),
        ("I <3 you <bob@example.org>", "I <3 you <bob@example.org>", None),
        ("https://example.org/glue", "https://example.org/glue", None),
        # saved pages
        ("<script>if (a<b) alert(1)</script><style>b {}</style>Glue", "Glue", MARKUP),
        ("<!DOCTYPE html><html><head><title>Shop</title></head><body>Glue</body></html>", "Glue", MARKUP),
        ("Glue <SCRIPT>var a = 1;", "Glue", MARKUP),
        ("var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();", "", SCRIPTS),
        (".a-box{color:#fff;}#b .selected{margin:0;padding:1px}", "", SCRIPTS),
        ("JavaScript: var x = 1; and other idioms of the language, explained at length", None, None),
        # lists and objects
        (["Toys", None, "Craft"], "Toys, Craft", LISTS),
        (np.array(["Toys", "Craft"], dtype=object), "Toys, Craft", LISTS),
        ([["Toys", "Craft"], ["Office"]], "Toys > Craft; Office", LISTS),
        ("['Toys', \"Kids' craft\"]", "Toys, Kids' craft", LISTS),
        ("['Toys' 'Craft']", "Toys, Craft", LISTS),
        ('[{"id": 16, "name": "Animation"}]', "Animation", LISTS),
        ([{"count": "2", "name": "to-read"}, {"count": "1", "name": "poetry"}], "to-read, poetry", LISTS),
        ([{"author_id": "1", "role": ""}], "", LISTS),
        ({"Brand": "Acme", "UPC": "617390882781", "Sizes": ["S", {"n": 2}]}, "Acme, S", LISTS),
        ({"WiFi": "u'free'", "Garage": "True", "Parking": "{'street': True}"}, "free", LISTS),
        ([], "", LISTS),
        ("[]", "", LISTS),
        ("[REC]", "[REC]", None),
        ("[1984]", "[1984]", None),
        ("it's [great]", "it's [great]", None),
        # characters
        ("half \ud83d an emoji", "half \ufffd an emoji", BROKEN),
        ("\ud83d\ude00", "\U0001f600", BROKEN),
        ("a\x1b[31mred\x1b[0m cup", "ared cup", CONTROL),
        ("\x1b]0;owned\x07Cup", "Cup", CONTROL),
        ("\u202egnp.exe", "gnp.exe", CONTROL),
        ("a\x00b", "ab", CONTROL),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469", None),
    ],
)
def test_clean_text(raw: object, clean: str | None, counted: str | None) -> None:
    counts = Counter[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clean_text(raw, counts=counts) == (raw if clean is None else clean)
    assert counts == ({counted: 1} if counted else {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(st.characters(codec=None)) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_any_value_becomes_printable_text_and_stays_it(value: Any) -> None:
    text = clean_text(value)
    text.encode("utf-8")
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 or 0x202A <= ord(letter) <= 0x202E for letter in text)
    assert text == " ".join(text.split())


@pytest.mark.parametrize("text", ["<b>" * 20_000, "<b " * 30_000, "<a '" * 20_000, "[" * 60_000 + "']", "<x>" * 20_000])
def test_hostile_texts_take_no_time(text: str) -> None:
    start = time.perf_counter()
    clean_text(text)
    assert time.perf_counter() - start < 5


def test_half_a_character_in_json_is_replaced_and_counted(ingest: Ingest) -> None:
    items = (
        '{"item_id": "a", "title": "Glue \\ud83d"}\n{"item_id": "b", "title": "Wire"}\n{"item_id": "c", "title": "O"}\n'
    )
    artifact = ingest({"items.jsonl": items, "interactions.csv": EVENTS})
    assert artifact.frame("items")["title"][0] == "Glue \ufffd"
    assert artifact.counts[BROKEN] == 1


def test_lists_of_objects_in_json(ingest: Ingest) -> None:
    items = (
        '{"book_id": "a", "title": "Verse", "popular_shelves": [{"count": "2", "name": "to-read"}], "authors": []}\n'
        '{"book_id": "b", "title": "Wire", "authors": [{"author_id": "1", "role": ""}]}\n{"book_id": "c", "title": 7}\n'
    )
    artifact = ingest(
        {"items.json": items, "interactions.csv": EVENTS},
        item_columns={"item_id": "book_id", "categories": "popular_shelves", "brand": "authors"},
    )
    assert artifact.frame("items")["text"].tolist() == ["Verse; to-read", "Wire", "7"]
    assert artifact.counts[LISTS] == 3
