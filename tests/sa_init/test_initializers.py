"""Initial rows: hand-checkable means, centring and norms that hold for any input, and fixed seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tsrec.config import SaInitSettings
from tsrec.sa_init.initializers import INITIALIZERS, initialize
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


def config(**values: Any) -> SaInitSettings:
    return SaInitSettings(**{"centre": False, "norm": "as-is", "finetune_seed": 1, **values})


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


def test_random_rows_have_one_deviation(vectors: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> None:
    many = [TokenMeaning(f"<a_{code}>", 1, ("glue",), "") for code in range(400)]
    rows, meaningful = initialize(many, vectors, tokenizer, config(initializer="random"))
    assert abs(rows.std() - 0.02) < 0.001
    assert not meaningful.any()


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
    once, again = (initialize(MEANINGS, vectors, tokenizer, config(initializer=name))[0] for _ in range(2))
    assert once.tobytes() == again.tobytes()
    other, _ = initialize(MEANINGS, vectors, tokenizer, config(initializer=name, finetune_seed=2))
    assert (other[1] != once[1]).any() == (name != "vocabulary-mean")
