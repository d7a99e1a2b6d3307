"""Co-occurrence beside texts: counted from train alone, scaled to the texts, silent about what was never bought."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plain_histories import build_histories
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import SidsConfig
from tsrec.histories import Histories
from tsrec.sids import cooccurrence
from tsrec.sids.cooccurrence import cooccurrence_factors, cooccurrences
from tsrec.sids.kmeans import residual_kmeans

IDS = [f"i{number}" for number in range(40)]


def _histories(events: pd.DataFrame) -> Histories:
    return build_histories(events.assign(**{C.TIMESTAMP: 0}), pd.Series(IDS))


def _events(histories: list[list[int]], splits: list[list[Split]] | None = None) -> pd.DataFrame:
    rows = [
        (f"u{user}", f"i{item}", place, splits[user][place].value if splits else Split.TRAIN.value)
        for user, items in enumerate(histories)
        for place, item in enumerate(items)
    ]
    return pd.DataFrame(rows, columns=[C.USER, C.ITEM, C.POSITION, C.SPLIT])


def _of_groups() -> pd.DataFrame:
    """Users who stay within the items 0 to 9, or 10 to 19, or 20 to 29; nobody bought 30 to 39."""
    random = np.random.default_rng(1)
    return _events([list(random.permutation(10)[:6] + 10 * (user % 3)) for user in range(90)])


def _texts() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(len(IDS), 16)).astype(np.float32)


@given(
    histories=st.lists(st.lists(st.integers(0, 4), max_size=7), min_size=1, max_size=5),
    window=st.integers(1, 4),
    data=st.data(),
)
def test_pairs_of_train_within_the_window_are_counted(
    histories: list[list[int]], window: int, data: st.DataObject
) -> None:
    splits = [[data.draw(st.sampled_from(list(Split))) for _ in items] for items in histories]
    expected = np.zeros((5, 5))
    for items, own in zip(histories, splits, strict=True):
        train = [item for item, split in zip(items, own, strict=True) if split is Split.TRAIN]
        for (first, a), (second, b) in combinations(enumerate(train), 2):
            if second - first <= window and a != b:
                expected[[a, b], [b, a]] += 1
    shuffled = _events(histories, splits).sample(frac=1, random_state=1)
    np.testing.assert_array_equal(cooccurrences(_histories(shuffled), 5, window).toarray(), expected)


def test_only_train_is_read() -> None:
    train = _of_groups()
    others = [_events([[0, 30, 11, 39]] * 20).assign(**{C.SPLIT: split.value}) for split in Split if split != "train"]
    later = pd.concat([train, *(rows.assign(**{C.POSITION: rows[C.POSITION] + 50}) for rows in others)])
    config = SidsConfig(cooccurrence=1)
    expected = cooccurrence_factors(_texts(), _histories(train), config)
    np.testing.assert_array_equal(cooccurrence_factors(_texts(), _histories(later), config), expected)


def test_items_that_are_bought_together_come_together() -> None:
    config = SidsConfig(cooccurrence=2, codes_per_level=(3, 8))
    texts, bought = _texts(), np.repeat(np.arange(3), 10)

    def share_of_the_same_group(vectors: np.ndarray) -> float:
        codes = residual_kmeans(vectors, config).codes[:30, 0]
        same = bought[:, None] == bought[None]
        return float((codes[:, None] == codes[None])[same].mean())

    beside = np.hstack([texts, cooccurrence_factors(texts, _histories(_of_groups()), config)])
    assert share_of_the_same_group(texts) < 0.6
    assert share_of_the_same_group(beside) == 1


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_weight_is_how_far_items_spread_against_their_texts(weight: float) -> None:
    texts = _texts() * 7 + 3
    factors = cooccurrence_factors(texts, _histories(_of_groups()), SidsConfig(cooccurrence=weight))
    assert factors.dtype == np.float32
    assert not factors[30:].any()  # nobody bought them: the mean of the others
    np.testing.assert_allclose(factors[:30].mean(axis=0), 0, atol=1e-5)
    spread = np.sqrt(np.square(texts - texts.mean(axis=0)).sum(axis=1).mean())
    assert np.sqrt(np.square(factors[:30]).sum(axis=1).mean()) == pytest.approx(weight * spread, rel=1e-4)


@pytest.mark.parametrize("histories", [[[0], [1]], [[3, 3, 3]], [[]]])
def test_where_nothing_occurs_together_texts_decide_and_it_is_said(
    histories: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    config = SidsConfig(cooccurrence=1, codes_per_level=(3, 8))
    factors = cooccurrence_factors(_texts(), _histories(_events(histories)), config)
    assert factors.shape == (len(IDS), 40) and factors.dtype == np.float32 and not factors.any()
    assert "nothing of train is bought together" in caplog.text
    of_texts, beside = (residual_kmeans(vectors, config) for vectors in (_texts(), np.hstack([_texts(), factors])))
    np.testing.assert_array_equal(beside.codes, of_texts.codes)


def test_in_float32_as_of_many_items_the_factors_are_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SidsConfig(cooccurrence=1)
    expected = cooccurrence_factors(_texts(), _histories(_of_groups()), config)
    monkeypatch.setattr(cooccurrence, "_FLOAT64_AT_MOST", len(IDS) - 1)
    factors = cooccurrence_factors(_texts(), _histories(_of_groups()), config)
    assert (factors != expected).any()  # it was computed otherwise
    # Factors with equal singular values may turn; how alike items are may not.
    np.testing.assert_allclose(
        factors @ factors.T, expected @ expected.T, atol=1e-3 * np.abs(expected @ expected.T).max()
    )
