"""Drift: nothing where nothing has moved, everything where all has, and bounds that say which."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.config import DriftConfig
from tsrec.refresh.drift import popularity_shift, rebuild_reasons

STILL = {"placed_items": 0.1, "quantization_error_known": 0.1, "quantization_error_new": 0.15, "popularity_shift": 0.05}


def _items(n: int, seed: int) -> pd.Series:
    return pd.Series([f"i{item}" for item in (200 * np.random.default_rng(seed).random(n) ** 2).astype(int)])


@pytest.mark.parametrize("n", [100, 1_000, 10_000])
def test_draws_from_the_same_items_have_not_shifted_however_few(n: int) -> None:
    assert popularity_shift(_items(20_000, 1), _items(n, 2)) < 0.03


def test_other_items_have_shifted_by_a_bit_less_chance() -> None:
    before = _items(20_000, 1)
    assert popularity_shift(before, "new " + before) == pytest.approx(1, abs=0.02)
    half = pd.concat([before, "new " + before])
    assert 0.2 < popularity_shift(before, half) < 0.4


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.lists(st.sampled_from("abcdef"), min_size=1))
def test_a_shift_lies_between_nothing_and_one_bit(before: list[str], after: list[str]) -> None:
    assert 0 <= popularity_shift(pd.Series(before), pd.Series(after)) <= 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"placed_items": 0.31}, "31% of the items have come since"),
        ({"quantization_error_new": 0.25}, "2.5 times worse"),
        ({"popularity_shift": 0.4}, "shifted by 0.40 bits"),
    ],
)
def test_each_bound_says_why_a_rebuild_is_due(changed: dict[str, float], words: str | None) -> None:
    reasons = rebuild_reasons({**STILL, **changed}, DriftConfig())
    assert (words is None) == (not reasons)
    assert words is None or words in reasons[0]


def test_imported_sids_have_no_errors_to_compare() -> None:
    assert not rebuild_reasons({"placed_items": 0.0}, DriftConfig())
