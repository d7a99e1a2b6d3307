"""Codebook health: figures worked out by hand, and what counts as a collapse."""

import numpy as np
import pytest

from tsrec.config import SidsConfig
from tsrec.errors import CodebookError
from tsrec.sids.health import check_health, codebook_health, describe_collapse

EVEN = np.array([[0, 0], [1, 0], [2, 1], [3, 1]])


def test_even_use_of_all_codes() -> None:
    first, second = codebook_health(EVEN, (4, 4), [0.5, 0.25]).to_dict("records")
    assert first == {
        "level": 0,
        "n_codes": 4,
        "used": 4,
        "utilization": 1.0,
        "perplexity": pytest.approx(4),
        "largest_cluster": 0.25,
        "collision_rate": 0.0,
        "quantization_error": 0.5,
    }
    assert (second["used"], second["utilization"], second["largest_cluster"]) == (2, 0.5, 0.5)
    assert second["perplexity"] == pytest.approx(2)
    assert second["quantization_error"] == 0.25


def test_uneven_use_lowers_perplexity_and_not_utilization() -> None:
    health = codebook_health(np.array([[0]] * 7 + [[1]]), (2,), None)
    assert health["utilization"].tolist() == [1.0]
    assert health["perplexity"].item() == pytest.approx(2**0.5435644, rel=1e-5)  # entropy of 1/8 in bits
    assert health["quantization_error"].isna().all()


def test_the_collision_rate_is_that_of_prefixes() -> None:
    health = codebook_health(np.array([[0, 0], [0, 0], [0, 1], [1, 0]]), (2, 2), None)
    assert health["collision_rate"].tolist() == [0.75, 0.5]


def test_an_even_codebook_passes() -> None:
    health = codebook_health(EVEN, (4, 4), None)
    check_health(health, 4, SidsConfig())
    assert describe_collapse(health, 4, SidsConfig()) is None


@pytest.mark.parametrize("level", [0, 1, 2])
def test_few_codes_in_use_at_any_level_is_a_collapse(level: int) -> None:
    codes = np.random.default_rng(1).integers(0, 64, size=(1000, 3))
    codes[:, level] %= 4
    with pytest.raises(CodebookError, match=rf"collapse at level {level + 1}: 4 of 64 codes in use.*text_fields"):
        check_health(codebook_health(codes, (64, 64, 64), None), 1000, SidsConfig())


def test_one_code_that_swallows_the_catalogue_is_a_collapse() -> None:
    codes = np.random.default_rng(1).integers(0, 16, size=(1000, 2))
    codes[:800, 0] = 3
    health = codebook_health(codes, (16, 16), None)
    with pytest.raises(CodebookError, match=r"one of 16 codes holds 8\d% .*max_largest_cluster=0.5"):
        check_health(health, 1000, SidsConfig())
    check_health(health, 1000, SidsConfig(max_largest_cluster=0.9))


@pytest.mark.parametrize(
    ("sizes", "collapsed"),
    [
        ((1, 1), False),
        ((1, 2), False),
        ((4, 1), False),
        ((0, 5), True),
        ((1, 9, 1), False),
        ((0, 9, 0), True),
        ((5000, 90), True),  # 2 codes, and 98 % in one
        ((5000, 1000), False),
        ((9, 1, 1, 1, 1, 1, 1, 1), True),
        ((4, 1, 1, 1, 1, 1, 1, 1), False),
    ],
)
def test_the_bound_is_relative_to_the_number_of_codes(sizes: tuple[int, ...], collapsed: bool) -> None:
    codes = np.repeat(np.arange(len(sizes)), sizes)[:, None]
    health = codebook_health(codes, (len(sizes),), None)
    assert (describe_collapse(health, len(codes), SidsConfig()) is not None) is collapsed


def test_where_nothing_is_left_to_explain_unused_codes_are_no_collapse() -> None:
    codes = np.stack([np.arange(50), np.zeros(50, dtype=int)], axis=1)
    assert describe_collapse(codebook_health(codes, (50, 50), [0.0, 0.0]), 50, SidsConfig()) is None
    assert describe_collapse(codebook_health(codes, (50, 50), [0.1, 0.1]), 50, SidsConfig()) is not None
