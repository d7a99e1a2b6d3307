"""Jobs that wait are done together, in their order; none is lost, whatever happens to another."""

import threading
from collections.abc import Callable, Sequence

import pytest

from tsrec.serving.batching import Batcher


class Gate:
    """Doubles numbers, once it is open; keeps what was asked together."""

    def __init__(self) -> None:
        self.open, self.begun = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, jobs: list[int]) -> list[int]:
        self.begun.set()
        assert self.open.wait(10)
        self.batches.append(jobs)
        if 13 in jobs:
            raise ValueError("thirteen")
        return [2 * job for job in jobs]


def started(run: Callable[[list[int]], list[int]], take: Callable[[Sequence[int]], int] = len) -> Batcher[int, int]:
    batcher = Batcher("test", run, take)
    batcher.start()
    return batcher


def _three(waiting: Sequence[int]) -> int:
    return min(3, len(waiting))


def test_what_comes_while_a_batch_runs_is_the_next() -> None:
    gate = Gate()
    batcher = started(gate, _three)
    first = batcher.submit(0)
    assert gate.begun.wait(10)
    rest = [batcher.submit(job) for job in range(1, 6)]
    assert batcher.waiting() == [1, 2, 3, 4, 5]
    gate.open.set()
    assert [future.result(10) for future in [first, *rest]] == [0, 2, 4, 6, 8, 10]
    assert gate.batches == [[0], [1, 2, 3], [4, 5]]
    batcher.stop()


def test_an_error_is_what_its_batch_gets_and_the_next_goes_on() -> None:
    gate = Gate()
    gate.open.set()
    batcher = started(gate)
    with pytest.raises(ValueError, match="thirteen"):
        batcher.submit(13).result(10)
    assert batcher.submit(1).result(10) == 2
    batcher.stop()


def test_who_no_longer_waits_is_not_worked_for() -> None:
    gate = Gate()
    batcher = started(gate)
    batcher.submit(0)
    assert gate.begun.wait(10)
    gone, stays = batcher.submit(1), batcher.submit(2)
    assert gone.cancel()
    gate.open.set()
    assert stays.result(10) == 4
    assert gate.batches == [[0], [2]]
    batcher.stop()


def test_what_waits_is_done_before_the_end_and_nothing_after() -> None:
    gate = Gate()
    batcher = started(gate)
    futures = [batcher.submit(job) for job in range(5)]
    threading.Timer(0.05, gate.open.set).start()
    batcher.stop()
    assert [future.result(0) for future in futures] == [0, 2, 4, 6, 8]
    with pytest.raises(RuntimeError, match="stopped"):
        batcher.submit(9)
