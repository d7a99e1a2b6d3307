"""What work will take is learned from work before it."""

import numpy as np
import pytest

from tsrec.serving.work_time import _CAUTION, Timing


def test_nothing_is_known_before_anything_was_measured() -> None:
    assert Timing().seconds(100) == 0


def test_a_fixed_part_and_one_for_each_token_are_told_apart() -> None:
    timing = Timing()
    moments = np.random.default_rng(0)
    for tokens in moments.integers(10, 300, 40):
        timing.measured(int(tokens), (0.03 + tokens * 2e-4) * moments.uniform(0.95, 1.05))
    for tokens in (20, 100, 400):
        assert timing.seconds(tokens) / _CAUTION == pytest.approx(0.03 + tokens * 2e-4, rel=0.1)


def test_where_all_were_alike_time_grows_with_tokens() -> None:
    timing = Timing()
    for _ in range(5):
        timing.measured(50, 0.04)
    assert timing.seconds(50) == pytest.approx(_CAUTION * 0.04)
    assert timing.seconds(100) == pytest.approx(_CAUTION * 0.08)


def test_the_newest_count_most() -> None:
    timing = Timing()
    for _ in range(50):
        timing.measured(50, 1.0)
    for _ in range(30):
        timing.measured(50, 0.04)
    assert timing.seconds(50) == pytest.approx(_CAUTION * 0.08, rel=0.5)


def test_more_tokens_never_seem_to_take_less() -> None:
    timing = Timing()
    timing.measured(100, 0.01)
    timing.measured(10, 1.0)
    assert timing.seconds(10) <= timing.seconds(100) <= timing.seconds(1_000)
