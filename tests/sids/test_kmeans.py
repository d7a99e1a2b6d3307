"""Residual k-means: shapes, residuals, determinism, and fewer codes for a small catalogue."""

import numpy as np
import pytest

from tsrec.config import SidsConfig
from tsrec.sids.kmeans import residual_kmeans


@pytest.fixture
def embeddings() -> np.ndarray:
    """200 items in 5 far-apart groups, (200, 8) float32."""
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(5, 8)) * 10
    return (np.repeat(centres, 40, axis=0) + generator.normal(size=(200, 8))).astype(np.float32)


def test_level_one_finds_the_groups(embeddings: np.ndarray) -> None:
    codes = residual_kmeans(embeddings, SidsConfig(codes_per_level=(5, 8, 8))).codes
    assert codes.shape == (200, 3)
    assert [len(set(group)) for group in codes[:, 0].reshape(5, 40)] == [1] * 5
    assert len(set(codes[:, 0])) == 5


def test_every_level_takes_the_nearest_centroid_of_what_is_left(embeddings: np.ndarray) -> None:
    result = residual_kmeans(embeddings, SidsConfig(codes_per_level=(5, 8, 8)))
    left = embeddings.astype(np.float64)
    for level, book in enumerate(result.codebooks):
        nearest = ((left[:, None] - book[None]) ** 2).sum(axis=2).argmin(axis=1)
        np.testing.assert_array_equal(result.codes[:, level], nearest)
        if level == 2:
            np.testing.assert_allclose(result.last_residuals(embeddings, result.codes), left, atol=1e-4)
        left = left - book[nearest]
        assert result.errors[level] == pytest.approx((left**2).sum(axis=1).mean(), rel=1e-4)
    assert result.errors == sorted(result.errors, reverse=True)


@pytest.mark.parametrize(("n_items", "expected"), [(200, (50, 50, 32)), (10, (2, 2, 3)), (3, (2, 2, 2))])
def test_a_small_catalogue_gets_fewer_codes(embeddings: np.ndarray, n_items: int, expected: tuple[int, ...]) -> None:
    config = SidsConfig(codes_per_level=(256, 64, 32))
    assert residual_kmeans(embeddings[:n_items], config).sizes == expected


def test_residual_levels_spread_their_items_over_their_codes() -> None:
    # Residuals that lie in all directions, as a text encoder's do: single items as starts keep most codes single.
    embeddings = np.random.default_rng(1).normal(size=(2000, 128)).astype(np.float32)
    codes = residual_kmeans(embeddings, SidsConfig(codes_per_level=(16, 128, 128))).codes
    for level in (1, 2):
        shares = np.bincount(codes[:, level], minlength=128) / len(codes)
        perplexity = np.exp(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
        assert perplexity > 64
