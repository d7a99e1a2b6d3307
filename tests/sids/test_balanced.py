"""Balanced residual k-means: codes serve about as many items each, by a rule that goes on for new items."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys import key_of
from tsrec.config import SidsConfig
from tsrec.sids.balanced import balanced_kmeans
from tsrec.sids.kmeans import residual_kmeans
from tsrec.sids.quantization import Quantization
from tsrec.sids.quantizer_registry import open_quantizer, save_quantizer
from tsrec.store import ArtifactStore

CONFIG = SidsConfig(quantizer="balanced-kmeans", codes_per_level=(16, 16))


@pytest.fixture(scope="module")
def crowded() -> np.ndarray:
    """(1600, 8) float32, of which nine tenths lie in one small region."""
    generator = np.random.default_rng(1)
    crowd = generator.normal(size=(1440, 8)) * 0.5
    others = generator.normal(size=(160, 8)) * 4
    return np.concatenate([crowd, others]).astype(np.float32)


def _largest(made: Quantization, level: int) -> int:
    return int(np.bincount(made.codes[:, level], minlength=made.sizes[level]).max())


def test_no_code_is_much_fuller_than_another(crowded: np.ndarray) -> None:
    plain, balanced = (fit(crowded, CONFIG) for fit in (residual_kmeans, balanced_kmeans))
    for level in range(2):
        assert _largest(balanced, level) < 1.5 * len(crowded) / 16 < _largest(plain, level)
    # What that costs is bounded: codes still lie where their items are.
    left = [made.reconstruction_errors(crowded, made.codes, 8).sum() for made in (plain, balanced)]
    assert left[1] < 2 * left[0]


def test_items_take_what_is_nearest_and_cheap(crowded: np.ndarray) -> None:
    made = balanced_kmeans(crowded, CONFIG)
    left = crowded.astype(np.float64)
    for level, book in enumerate(made.codebooks):
        centroids, prices = book[:, :8].astype(np.float64), np.square(book[:, 8 + level].astype(np.float64))
        assert prices.min() == 0 < prices.max()
        costs = np.square(left[:, None] - centroids[None]).sum(axis=2) + prices
        chosen = costs[np.arange(len(left)), made.codes[:, level]]
        np.testing.assert_allclose(chosen, costs.min(axis=1), rtol=1e-4, atol=1e-4)
        left = left - centroids[made.codes[:, level]]
        assert made.errors[level] == pytest.approx(np.square(left).sum(axis=1).mean(), rel=1e-4)  # prices are no error


def test_new_items_pay_the_same_prices(tmp_path: Path, crowded: np.ndarray) -> None:
    made = balanced_kmeans(crowded[::2], CONFIG)
    artifact = ArtifactStore(tmp_path).build(key_of("sids"), lambda out: save_quantizer(made, out))
    codes = open_quantizer(artifact, CONFIG).quantize(crowded[1::2])[0]
    assert np.bincount(codes[:, 0], minlength=16).max() < 1.7 * len(codes) / 16


@settings(max_examples=20, deadline=None)
@given(n_items=st.integers(2, 30), n_alike=st.integers(0, 10), width=st.integers(1, 6), seed=st.integers(0, 99))
def test_few_items_and_equal_ones_get_codes(n_items: int, n_alike: int, width: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n_items, width)).astype(np.float32)
    vectors = np.concatenate([vectors, np.repeat(vectors[:1], n_alike, axis=0)])
    made = balanced_kmeans(vectors, CONFIG)
    assert made.codes.shape == (len(vectors), 2)
    assert (made.codes >= 0).all() and (made.codes < made.sizes).all()
    assert np.isfinite(made.errors).all()
    same = made.codes[n_items:]
    np.testing.assert_array_equal(same, np.repeat(made.codes[:1], n_alike, axis=0))
