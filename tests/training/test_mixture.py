"""What an epoch sees: each task by its weight, drawn anew, until every example was seen."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsrec.training.mixture import TaskMixture, rows_by_epoch
from tsrec.training.packing import Example

PINNED = [(0, 1), (0, 2), (0, 4), (3, 0), (0, 3), (3, 1), (0, 0), (0, 4), (0, 2), (0, 1), (3, 6)]


def _draws(n_rows: int, weight: float, n_epochs: int, seed: int = 0) -> list[np.ndarray]:
    return rows_by_epoch(n_rows, weight, n_epochs, np.random.default_rng(seed))


def _part(n: int, task: int) -> list[Example]:
    return [Example(np.array([row]), np.array([row]), task) for row in range(n)]


def _seen(mixture: TaskMixture) -> list[tuple[int, int]]:
    return [(example.task, int(example.input_ids[0])) for example in mixture]


@given(st.integers(0, 200), st.floats(0, 4), st.integers(1, 9), st.integers(0, 9))
def test_weights_say_how_often_each_row_is_seen_per_epoch(n_rows: int, weight: float, epochs: int, seed: int) -> None:
    drawn = _draws(n_rows, weight, epochs, seed)
    for rows in drawn:
        times = np.bincount(rows, minlength=n_rows)
        assert ((times >= int(weight)) & (times <= int(weight) + 1)).all()
        assert abs(len(rows) - weight * n_rows) <= 1
    assert abs(sum(map(len, drawn)) - weight * n_rows * epochs) <= epochs * 1e-6 + 1
    for again, rows in zip(_draws(n_rows, weight, epochs, seed), drawn, strict=True):
        np.testing.assert_array_equal(again, rows)


@given(st.integers(1, 99), st.integers(1, 12), st.integers(0, 3), st.integers(1, 3))
def test_a_share_sees_every_row_once_in_its_inverse_of_epochs(
    n_rows: int, inverse: int, whole: int, cycles: int
) -> None:
    drawn = _draws(n_rows, whole + 1 / inverse, inverse * cycles)
    for cycle in range(cycles):
        mine = np.concatenate(drawn[cycle * inverse : (cycle + 1) * inverse])
        if inverse > 1:  # a weight of 2 takes whole rows alone
            assert (np.bincount(mine, minlength=n_rows) == whole * inverse + 1).all()


def test_after_a_full_cycle_the_order_is_another() -> None:
    first, second, third, fourth = _draws(40, 0.5, 4)
    assert set(first) | set(second) == set(third) | set(fourth) == set(range(40))
    assert set(first) not in (set(third), set(fourth))


def test_longer_runs_begin_like_shorter_ones() -> None:
    for short, long in zip(_draws(37, 0.3, 4), _draws(37, 0.3, 9), strict=False):
        np.testing.assert_array_equal(short, long)


def test_epochs_follow_one_another_each_in_an_order_of_its_own() -> None:
    seen = _seen(TaskMixture({0: (_part(8, 0), 1.0), 3: (_part(8, 3), 0.5)}, epochs=2, seed=1))
    epochs = seen[:12], seen[12:]
    assert [{row for task, row in epoch if task == 0} for epoch in epochs] == [set(range(8))] * 2
    assert sorted(row for task, row in seen if task == 3) == list(range(8))
    assert epochs[0] != sorted(epochs[0])
    assert [row for task, row in epochs[0] if task == 0] != [row for task, row in epochs[1] if task == 0]


def test_a_fraction_of_an_epoch_is_that_share_of_its_examples() -> None:
    parts = {0: (_part(8, 0), 1.0), 1: (_part(8, 1), 0.5)}
    whole, part = _seen(TaskMixture(parts, epochs=3, seed=1)), _seen(TaskMixture(parts, epochs=2.5, seed=1))
    assert part == whole[:30]
    assert len(TaskMixture(parts, epochs=0.01, seed=1)) == 1


def test_a_tasks_draws_depend_on_no_other_task() -> None:
    alone = _seen(TaskMixture({2: (_part(20, 2), 0.3)}, epochs=1, seed=5))
    beside = _seen(TaskMixture({0: (_part(9, 0), 1.0), 2: (_part(20, 2), 0.3)}, epochs=1, seed=5))
    assert set(alone) == {(task, row) for task, row in beside if task == 2}


def test_nothing_to_draw_is_an_empty_mixture() -> None:
    assert len(TaskMixture({0: ([], 1.0), 1: (_part(3, 1), 0.0)}, epochs=2, seed=1)) == 0


def test_the_order_is_what_trained_models_were_trained_in() -> None:
    """Another order for the same settings would be another model under the same fingerprint."""
    parts = {0: (_part(5, 0), 1.0), 3: (_part(7, 3), 0.3)}
    assert _seen(TaskMixture(parts, epochs=1.5, seed=4)) == PINNED
