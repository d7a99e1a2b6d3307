"""Initial rows: hand-checkable means, centring and norms that hold for any input, and fixed seeds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

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


Start = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def vectors(tiny_backbone: Path) -> np.ndarray:
    return read_input_embeddings(tiny_backbone)


@pytest.fixture(scope="module")
def start(tiny_backbone: Path, vectors: np.ndarray) -> Start:
    """The rows of some meanings, and which have a meaning; neither centred nor scaled unless asked."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)

    def initialized(meanings: Sequence[TokenMeaning] = MEANINGS, **values: Any) -> tuple[np.ndarray, np.ndarray]:
        settings = SaInitSettings(**{"centre": False, "norm": "as-is", "finetune_seed": 1, **values})
        return initialize(meanings, vectors, tokenizer, settings)

    return initialized


@pytest.fixture(scope="module")
def piece_mean(tiny_backbone: Path, vectors: np.ndarray) -> Callable[[str], np.ndarray]:
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    return lambda text: vectors[tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))].mean(axis=0)


def _meanings(clusters: Sequence[Sequence[str]]) -> list[TokenMeaning]:
    return [TokenMeaning(f"<a_{code}>", 1, tuple(words), "") for code, words in enumerate(clusters)]


def test_keywords_weigh_the_same_however_many_pieces_they_have(
    start: Start, piece_mean: Callable[[str], np.ndarray]
) -> None:
    rows, meaningful = start(initializer="keywords")
    np.testing.assert_allclose(rows[0], (piece_mean(" strong glue") + piece_mean(" epoxy")) / 2, atol=1e-6)
    assert meaningful.tolist() == [True, False, True, True]


def test_keyword_string_is_one_text(start: Start, piece_mean: Callable[[str], np.ndarray]) -> None:
    rows, meaningful = start(initializer="keyword-string")
    np.testing.assert_allclose(rows[0], piece_mean("strong glue epoxy"), atol=1e-6)
    assert meaningful.tolist() == [True, False, True, True]


def test_vocabulary_mean_is_never_centred_away(start: Start, vectors: np.ndarray) -> None:
    rows, _ = start(initializer="vocabulary-mean", centre=True)
    np.testing.assert_allclose(rows, np.tile(vectors.mean(axis=0), (4, 1)), atol=1e-6)


def test_random_rows_have_one_deviation(start: Start) -> None:
    rows, meaningful = start(_meanings([["glue"]] * 400), initializer="random")
    assert abs(rows.std() - 0.02) < 0.001
    assert not meaningful.any()


def test_pretrained_norm_is_the_mean_norm_of_the_models_rows(start: Start, vectors: np.ndarray) -> None:
    rows, _ = start(norm="pretrained")
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.linalg.norm(vectors, axis=1).mean(), rtol=1e-5)


def test_tokens_that_all_mean_the_same_fall_back_to_random(start: Start) -> None:
    rows, meaningful = start(_meanings([["glue"]] * 3), centre=True, norm=0.5)
    assert not meaningful.any()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 0.5, rtol=1e-5)


KEYWORD = st.sampled_from(["glue", "strong glue", "steel", "screws", "toys", "blue nitrile gloves", "film"])
CLUSTERS = st.lists(st.lists(KEYWORD, max_size=4, unique=True), min_size=2, max_size=10)
PROPERTY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(clusters=CLUSTERS, name=st.sampled_from(["keywords", "keyword-string"]))
def test_centred_rows_sum_to_zero(start: Start, clusters: list[list[str]], name: str) -> None:
    rows, meaningful = start(_meanings(clusters), initializer=name, centre=True)
    np.testing.assert_allclose(rows[meaningful].sum(axis=0), 0, atol=1e-5)


@PROPERTY
@given(clusters=CLUSTERS, name=st.sampled_from(sorted(INITIALIZERS)), centre=st.booleans(), norm=st.floats(0.01, 10))
def test_every_row_has_the_given_norm(
    start: Start, clusters: list[list[str]], name: str, centre: bool, norm: float
) -> None:
    rows, _ = start(_meanings(clusters), initializer=name, centre=centre, norm=norm)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), norm, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_the_same_seed_gives_the_same_bytes(start: Start, name: str) -> None:
    once, again = (start(initializer=name)[0] for _ in range(2))
    assert once.tobytes() == again.tobytes()
    other, _ = start(initializer=name, finetune_seed=2)
    assert (other[1] != once[1]).any() == (name != "vocabulary-mean")
