"""A token means what its items share and others lack; the fast aggregation equals a plain reference."""

import math
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsrec.sid.meaning import aggregate_keywords, cluster_sizes, to_table
from tsrec.sid.space import SidSpace

SPACE = SidSpace((3, 2))
CODES = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [1, 0]], dtype=np.int16)
KEYWORDS = [
    ["Glue", "strong", "epoxy"],
    ["glue", "strong", "glue"],
    ["screw", "strong"],
    ["screw", "steel", "wood screw"],
    ["screw", "strong"],
]
TITLES = ["Epoxy glue", "Glue stick", "Screw A", "Steel screws", "Screw B"]


def reference_keywords(members: list[set[str]], classes: list[list[set[str]]], n_keywords: int) -> list[str]:
    total = Counter(keyword for group in classes for own in group for keyword in own)
    mean = sum(total.values()) / max(1, sum(any(group) for group in classes))
    counts = Counter(keyword for own in members for keyword in own)
    score = {keyword: counts[keyword] * math.log(1 + mean / total[keyword]) for keyword in counts}
    return sorted(counts, key=lambda keyword: (-round(score[keyword], 9), -counts[keyword], keyword))[:n_keywords]


def test_keywords_set_a_token_apart() -> None:
    meanings = aggregate_keywords(CODES, KEYWORDS, TITLES, SPACE, n_keywords=2)
    assert [meaning.token for meaning in meanings] == ["<a_0>", "<a_1>", "<a_2>", "<b_0>", "<b_1>"]
    assert [meaning.n_items for meaning in meanings] == [2, 3, 0, 3, 2]
    # `strong` is as frequent as `glue` inside <a_0>, but half its items lie outside.
    assert meanings[0].keywords == ("glue", "epoxy")
    assert meanings[1].keywords[0] == "screw"


def test_the_description_names_the_most_typical_items() -> None:
    meanings = aggregate_keywords(CODES, KEYWORDS, TITLES, SPACE, n_keywords=2)
    assert meanings[0].description == "glue, epoxy: for example Epoxy glue; Glue stick"


def test_a_token_without_items_has_no_meaning() -> None:
    unused = aggregate_keywords(CODES, KEYWORDS, TITLES, SPACE, n_keywords=2)[2]
    assert (unused.n_items, unused.keywords, unused.description) == (0, (), "")


def test_ties_are_settled_by_alphabet_and_not_by_order_of_items() -> None:
    space, codes = SidSpace((1,)), np.zeros((2, 1), dtype=np.int16)
    forward = aggregate_keywords(codes, [["pear", "apple"], ["fig"]], ["", ""], space, 3)
    backward = aggregate_keywords(codes, [["fig"], ["apple", "pear"]], ["", ""], space, 3)
    assert forward == backward
    assert forward[0].keywords == ("apple", "fig", "pear")


def test_items_without_keywords_and_titles_are_borne() -> None:
    meanings = aggregate_keywords(CODES, [[], [], ["screw"], [], []], [""] * 5, SPACE, n_keywords=4)
    assert meanings[0].keywords == ()
    assert meanings[0].description == ""
    assert meanings[1].description == "screw"


WORDS = st.lists(st.sampled_from(["glue", "screw", "steel", "wood", "red", "blue"]), max_size=4)
CATALOGUE = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), WORDS), min_size=1, max_size=12)


@given(CATALOGUE, st.integers(1, 6))
def test_aggregation_equals_the_plain_reference(catalogue: list[tuple[int, int, list[str]]], n_keywords: int) -> None:
    codes = np.array([item[:2] for item in catalogue], dtype=np.int16)
    own = [set(item[2]) for item in catalogue]
    meanings = aggregate_keywords(codes, [item[2] for item in catalogue], [""] * len(own), SPACE, n_keywords)
    for level, size in enumerate(SPACE.sizes):
        classes = [[own[i] for i in np.flatnonzero(codes[:, level] == code)] for code in range(size)]
        for code in range(size):
            expected = reference_keywords(classes[code], classes, n_keywords)
            assert list(meanings[SPACE.offsets[level] + code].keywords) == expected


def test_the_table_has_one_row_per_token() -> None:
    table = to_table(aggregate_keywords(CODES, KEYWORDS, TITLES, SPACE, 2))
    assert table.column_names == ["level", "code", "token", "n_items", "keywords", "description"]
    assert table["level"].to_pylist() == [0, 0, 0, 1, 1]
    assert table["code"].to_pylist() == [0, 1, 2, 0, 1]
    assert cluster_sizes(CODES, SPACE).tolist() == table["n_items"].to_pylist()
