"""Titles are found by all their words, whatever their case and accents, and the last word may be unfinished."""

import re
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.serving.title_search import TitleSearch

TITLES = [
    "Star Wars (1977)",
    "Empire Strikes Back, The (1980)",
    "Star Trek: First Contact (1996)",
    "A Star Is Born",
    "Amélie (2001)",
    "Starship Troopers",
    "スター・ウォーズ 帝国の逆襲",
    "Star",
    "",
    "Der Große Diktator",
]
POPULARITY = np.array([9, 8, 7, 1, 5, 10, 3, 2, 6, 4])


@pytest.fixture(scope="module")
def search() -> TitleSearch:
    return TitleSearch(TITLES, POPULARITY)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("star wars", [0]),
        ("WARS star", [0]),
        ("star w", [0]),
        ("sta", [5, 0, 2, 7, 3]),  # begins with it, the most popular first
        ("star", [7, 0, 2, 5, 3]),  # is it; has it whole in front; begins with it; has it elsewhere
        ("amelie", [4]),
        ("AMÉLIE", [4]),
        ("große", [9]),
        ("grosse", [9]),
        ("帝国", [6]),
        ("wars of star", []),
        ("1977 star", [0]),
        ("nothing", []),
        ("trek star w", []),
    ],
)
def test_what_a_query_finds(search: TitleSearch, query: str, found: list[int]) -> None:
    assert search.find(query).tolist() == found


def test_no_words_are_all_items_by_popularity(search: TitleSearch) -> None:
    for query in ("", "  ", "?!"):
        assert search.find(query).tolist() == np.argsort(-POPULARITY).tolist()


def test_no_items_at_all() -> None:
    assert TitleSearch([], np.array([], dtype=np.int64)).find("star").tolist() == []
    assert TitleSearch([""], np.array([1])).find("star").tolist() == []


def _plain_words(text: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"[a-z0-9]+", "".join(c for c in decomposed if not unicodedata.combining(c)))


_texts = st.lists(st.text("abc é1-", max_size=8), max_size=8)


@given(_texts, st.text("abc é1-", max_size=6))
def test_it_finds_what_a_plain_search_finds(titles: list[str], query: str) -> None:
    *whole, last = _plain_words(query) or [""]
    wanted = {
        place
        for place, title in enumerate(titles)
        if (not last or any(word.startswith(last) for word in _plain_words(title)))
        and set(whole) <= set(_plain_words(title))
    }
    assert set(TitleSearch(titles, np.zeros(len(titles))).find(query).tolist()) == wanted


def test_a_hundred_thousand_titles_are_searched_in_milliseconds() -> None:
    random = np.random.default_rng(1)
    words = [f"w{number}" for number in range(5000)]
    titles = [" ".join(words[place] for place in row) for row in random.zipf(1.3, (100_000, 6)) % 5000]
    search = TitleSearch(titles, random.integers(0, 1000, len(titles)))
    search.find("w1")
    started = time.perf_counter()
    for query in ("w", "w1 w2", "w17 w3 w4", "w4999"):
        search.find(query)
    assert time.perf_counter() - started < 2  # tens of milliseconds each on a core that is not shared
