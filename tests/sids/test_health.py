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
    check_health(health, SidsConfig())
    assert describe_collapse(health, SidsConfig()) is None


@pytest.mark.parametrize("level", [0, 1, 2])
def test_few_codes_in_use_at_any_level_is_a_collapse(level: int) -> None:
    codes = np.random.default_rng(1).integers(0, 64, size=(1000, 3))
    codes[:, level] %= 4
    with pytest.raises(CodebookError, match=rf"collapse at level {level + 1}: 4 of 64 codes in use.*text_fields"):
        check_health(codebook_health(codes, (64, 64, 64), None), SidsConfig())


def test_one_code_that_swallows_the_catalogue_is_a_collapse() -> None:
    codes = np.random.default_rng(1).integers(0, 16, size=(1000, 2))
    codes[:800, 0] = 3
    health = codebook_health(codes, (16, 16), None)
    with pytest.raises(CodebookError, match=r"collapse at level 1: one code holds 8\d% of all items.*= 50%"):
        check_health(health, SidsConfig())
    check_health(health, SidsConfig(max_largest_cluster=0.9))
