"""A thread that does what waits together: as many jobs at a time as `take` says. Knows nothing of recommending.

Nothing waits for a batch to fill: while one runs the next gathers.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Batcher(Generic[Job, Result]):
    """Runs jobs in one thread of its own, in the order in which they came.

    Args:
        name: of the thread.
        run: gives the results of some jobs, in order. What it raises is what each of them gets.
        take: how many of the jobs that wait are run together next, from the first on; at least one.
    """

    def __init__(
        self, name: str, run: Callable[[list[Job]], list[Result]], take: Callable[[Sequence[Job]], int] = len
    ) -> None:
        self._run, self._take = run, take
        self._waiting: deque[tuple[Job, Future[Result]]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, job: Job) -> "Future[Result]":
        """The job's result, once it is there. One that is cancelled before its turn is not run."""
        future: Future[Result] = Future()
        with self._changed:
            if self._stopped:
                raise RuntimeError("the engine was stopped")
            self._waiting.append((job, future))
            self._changed.notify()
        return future

    def waiting(self) -> list[Job]:
        """The jobs whose turn has not come."""
        with self._changed:
            return [job for job, _ in self._waiting]

    def stop(self) -> None:
        """Do what waits, and end the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            jobs, futures = zip(*batch, strict=True)
            try:
                results = self._run(list(jobs))
            except BaseException as error:
                for future in futures:
                    future.set_exception(error)
            else:
                for future, result in zip(futures, results, strict=True):
                    future.set_result(result)
            del batch, jobs, futures  # else a model that serves no longer stays until the next job comes

    def _next(self) -> "list[tuple[Job, Future[Result]]]":
        """The next batch; empty where the thread is to end."""
        with self._changed:
            while True:
                while not self._waiting and not self._stopped:
                    self._changed.wait()
                if not self._waiting:
                    return []
                n = self._take([job for job, _ in self._waiting])
                some = [self._waiting.popleft() for _ in range(n)]
                if batch := [(job, future) for job, future in some if future.set_running_or_notify_cancel()]:
                    return batch
