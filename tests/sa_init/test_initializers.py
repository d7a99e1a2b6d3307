"""Initial rows: hand-checkable means, centring and norms that hold for any input, and fixed seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tsrec.config import SaInitConfig
from tsrec.sa_init.initializers import INITIALIZERS, initialize, whitened
from tsrec.sa_init.pretrained_rows import read_input_embeddings
from tsrec.sid.meaning import TokenMeaning

MEANINGS = [
    TokenMeaning("<a_0>", 2, ("strong glue", "epoxy"), ""),
    TokenMeaning("<a_1>", 0, (), ""),
    TokenMeaning("<b_0>", 1, ("steel screws",), ""),
    TokenMeaning("<b_1>", 1, ("toys", "film", "children"), ""),
]


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_backbone)


@pytest.fixture(scope="module")
def vectors(tiny_backbone: Path) -> np.ndarray:
    return read_input_embeddings(tiny_backbone)


def config(**values: Any) -> SaInitConfig:
    return SaInitConfig(**{"centre": False, "norm": "as-is", **values})


def piece_mean(text: str, vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    ids = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
    return sum(vectors[i].astype(float) for i in ids) / len(ids)


def test_keywords_weigh_the_same_however_many_pieces_they_have(
    vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows, meaningful = initialize(MEANINGS, vectors, tokenizer, config(initializer="keywords"))
    glue, epoxy = (piece_mean(text, vectors, tokenizer) for text in (" strong glue", " epoxy"))
    np.testing.assert_allclose(rows[0], (glue + epoxy) / 2, atol=1e-6)
    assert meaningful.tolist() == [True, False, True, True]


def test_keyword_string_is_one_text(vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> None:
    rows, _ = initialize(MEANINGS, vectors, tokenizer, config(initializer="keyword-string"))
    np.testing.assert_allclose(rows[0], piece_mean("strong glue epoxy", vectors, tokenizer), atol=1e-6)


def test_vocabulary_mean_is_never_centred_away(vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> None:
    rows, _ = initialize(MEANINGS, vectors, tokenizer, config(initializer="vocabulary-mean", centre=True))
    np.testing.assert_allclose(rows, np.tile(vectors.mean(axis=0), (4, 1)), atol=1e-6)


def test_random_rows_have_the_given_deviation(vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> None:
    many = [TokenMeaning(f"<a_{code}>", 1, ("glue",), "") for code in range(400)]
    rows, meaningful = initialize(many, vectors, tokenizer, config(initializer="random", random_std=0.05))
    assert abs(rows.std() - 0.05) < 0.002
    assert not meaningful.any()


def test_deeper_levels_start_random_where_fewer_are_asked_for(
    vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> None:
    random, _ = initialize(MEANINGS, vectors, tokenizer, config(initializer="random"))
    whole, _ = initialize(MEANINGS, vectors, tokenizer, config())
    rows, meaningful = initialize(MEANINGS, vectors, tokenizer, config(levels=1))
    assert meaningful.tolist() == [True, False, False, False]
    np.testing.assert_array_equal(rows[0], whole[0])
    np.testing.assert_array_equal(rows[1:], random[1:])
    none, _ = initialize(MEANINGS, vectors, tokenizer, config(levels=0))
    np.testing.assert_array_equal(none, random)


def test_pretrained_norm_is_the_mean_norm_of_the_models_rows(
    vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows, _ = initialize(MEANINGS, vectors, tokenizer, config(norm="pretrained"))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.linalg.norm(vectors, axis=1).mean(), rtol=1e-5)


def test_tokens_that_all_mean_the_same_fall_back_to_random(
    vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> None:
    alike = [TokenMeaning(f"<a_{code}>", 1, ("glue",), "") for code in range(3)]
    rows, meaningful = initialize(alike, vectors, tokenizer, config(centre=True, norm=0.5))
    assert not meaningful.any()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 0.5, rtol=1e-5)


KEYWORD = st.sampled_from(["glue", "strong glue", "steel", "screws", "toys", "blue nitrile gloves", "film"])
CLUSTERS = st.lists(st.lists(KEYWORD, max_size=4, unique=True), min_size=2, max_size=10)
PROPERTY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(clusters=CLUSTERS, name=st.sampled_from(["keywords", "keyword-string"]))
def test_centred_rows_sum_to_zero(
    vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase, clusters: list[list[str]], name: str
) -> None:
    meanings = [TokenMeaning(f"<a_{i}>", 1, tuple(words), "") for i, words in enumerate(clusters)]
    rows, meaningful = initialize(meanings, vectors, tokenizer, config(initializer=name, centre=True))
    np.testing.assert_allclose(rows[meaningful].sum(axis=0), 0, atol=1e-5)


@given(n=st.integers(1, 12), dimensions=st.integers(1, 12), rank=st.integers(1, 12), seed=st.integers(0, 99))
def test_whitened_rows_are_the_nearest_of_those_that_are_as_distinct_as_can_be(
    n: int, dimensions: int, rank: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n, rank)) @ generator.normal(size=(rank, dimensions))
    made = whitened(rows)
    np.testing.assert_allclose(np.linalg.norm(made), np.linalg.norm(rows))
    # Plainly: the square root of the rows' inner products, inverted, takes every direction's strength away.
    values, vectors = np.linalg.eigh(rows.T @ rows)
    # Of a direction that is hardly there, inner products have lost what the rows still say.
    assume(not ((values > 1e-14 * values.max()) & (values < 1e-8 * values.max())).any())
    kept = values > 1e-9 * values.max()
    inverse_root = vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T
    plain = rows @ inverse_root
    np.testing.assert_allclose(made, plain * np.linalg.norm(rows) / np.linalg.norm(plain), atol=1e-6 * abs(rows).max())
    strengths = np.linalg.svd(made, compute_uv=False)[: kept.sum()]
    np.testing.assert_allclose(strengths, strengths[0], rtol=1e-6)


def test_whitening_tells_tokens_apart_that_mean_nearly_the_same_and_keeps_those_that_mean_the_same(
    vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> None:
    words = [("glue", "epoxy"), ("glue", "film"), ("glue", "epoxy"), ("toys",), ("steel", "screws")]
    meanings = [TokenMeaning(f"<a_{i}>", 1, keywords, "") for i, keywords in enumerate(words)]
    plain, _ = initialize(meanings, vectors, tokenizer, config(centre=True, norm=1.0))
    rows, meaningful = initialize(meanings, vectors, tokenizer, config(centre=True, norm=1.0, whiten=True))
    assert meaningful.all()
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-5)
    assert rows[0] @ rows[1] < plain[0] @ plain[1] - 0.1
    assert (np.sum(rows * plain, axis=1) > 0.7).all()
    deeper, _ = initialize(meanings, vectors, tokenizer, config(levels=0, whiten=True))
    np.testing.assert_array_equal(deeper, initialize(meanings, vectors, tokenizer, config(initializer="random"))[0])


@PROPERTY
@given(clusters=CLUSTERS, name=st.sampled_from(sorted(INITIALIZERS)), centre=st.booleans(), norm=st.floats(0.01, 10))
def test_every_row_has_the_given_norm(
    vectors: np.ndarray,
    tokenizer: PreTrainedTokenizerBase,
    clusters: list[list[str]],
    name: Any,
    centre: bool,
    norm: float,
) -> None:
    meanings = [TokenMeaning(f"<a_{i}>", 1, tuple(words), "") for i, words in enumerate(clusters)]
    rows, _ = initialize(meanings, vectors, tokenizer, config(initializer=name, centre=centre, norm=norm))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), norm, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_the_same_seed_gives_the_same_bytes(vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase, name: Any) -> None:
    settings_ = SaInitConfig(initializer=name)
    once, again = (initialize(MEANINGS, vectors, tokenizer, settings_)[0] for _ in range(2))
    assert once.tobytes() == again.tobytes()
    other, _ = initialize(MEANINGS, vectors, tokenizer, SaInitConfig(initializer=name, seed=2))
    assert (other[1] != once[1]).any() == (name != "vocabulary-mean")
