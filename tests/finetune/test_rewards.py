"""What rollouts are worth: the next item above all, and what stands high and is wrong costs most."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.finetune.rewards import advantages, rewards

# A group: how many rollouts, and the place of the next item among them, or beyond them.
groups = st.integers(2, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size)))


def _is_true(size: int, place: int) -> np.ndarray:
    return np.arange(size)[None] == place


def test_a_small_group_by_hand() -> None:
    discounts = np.array([1, 1 / np.log2(3), 1 / 2])
    lost = discounts / discounts.sum()
    found = rewards(np.array([[False, True, False], [False, False, False]]))
    np.testing.assert_allclose(found, [[-lost[0], 1, -lost[2]], [0, 0, 0]])


@given(groups)
def test_a_group_adds_up_to_the_gain_of_the_next_items_rank(group: tuple[int, int]) -> None:
    size, place = group
    gains = 1 / np.log2(np.arange(size) + 2)
    wanted = gains[place] / gains.sum() if place < size else 0
    assert rewards(_is_true(size, place)).sum() == pytest.approx(wanted)


@given(groups)
def test_only_a_group_with_the_next_item_has_advantages_and_that_item_the_only_one_above_0(
    group: tuple[int, int],
) -> None:
    size, place = group
    found = advantages(rewards(_is_true(size, place)))[0]
    if place == size:
        assert not found.any()
        return
    assert found.mean() == pytest.approx(0, abs=1e-9)
    assert found.std() == pytest.approx(1)
    assert np.flatnonzero(found == found.max()).tolist() == [place]
    others = np.delete(found, place)
    assert (np.diff(others) > 0).all()  # the higher it stands, the more it loses
