"""The LLM's lists: decoded together, cached, and promised where they may be there in time.

A decode cannot be stopped once it runs. So what is decoded together is bounded, and of what would come too late nothing
is queued: whoever asks is told at once, and answers without. Now and then, while nothing else is decoded, one list is
begun all the same: the next who asks finds it, and how long it takes is measured again.

Where the fusion weighs the LLM's scores of what others propose, the time that is left says of how many: it makes nobody
late who waits. A list with fewer scores is made again once there is time for all of them.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from tsrec.columns import FUSED
from tsrec.serving.asked import Asked
from tsrec.serving.batching import Batcher
from tsrec.serving.llm_lists import Decoded, LlmLists
from tsrec.serving.observing import Observe

logger = logging.getLogger(__name__)

_SHARE_OF_DEADLINE = 0.4  # that one batch may take: who just missed it has time for the next
_SHARE_OF_LATE = 0.2  # of the time, at most, in which lists are made that come too late
_FEWEST_SCORED = 10  # proposals: fewer are not worth another pass of the model


@dataclass(frozen=True, eq=False)
class _Job:
    lists: LlmLists
    asked: Asked
    width: int
    until: float  # by `time.monotonic`: afterwards nobody waits for it
    n_scored: int  # proposals of others that are scored too, where there is time

    def goes_with(self, other: "_Job") -> bool:
        """Whether one call can decode both."""
        alike = self.lists is other.lists and self.n_scored == other.n_scored
        return alike and self.asked.allowed_mark == other.asked.allowed_mark


class Decoder:
    """One thread that decodes for all wishes; `deadline_s` is what an answer may take.
    `observe` is told of every batch and of every look into the cache."""

    def __init__(self, deadline_s: float, observe: Observe) -> None:
        self._observe = observe
        self._longest_s = _SHARE_OF_DEADLINE * deadline_s
        self._working, self._busy_until, self._no_late_before = False, 0.0, 0.0
        self._batcher: Batcher[_Job, Decoded | None] = Batcher("decode", self._run, self._take)

    def ask(self, lists: LlmLists, asked: Asked, until: float) -> "Future[Decoded | None] | None":
        """The list of one history with a known item, or its promise; with scores where the fusion is asked for.

        None, now or as the promise's result: it would not be there `until` then (by `time.monotonic`). A promise may
        come later all the same. To be asked from one thread.
        """
        asked = asked.for_decoding()
        width = max(lists.width, asked.wish.k)
        n_scored = lists.n_scored if asked.wish.method == FUSED else 0
        last = len(asked.past) if n_scored else lists.llm.config.max_history  # others read more of a history
        key = (asked.mark(last), width, n_scored)
        found, job = lists.cache.get(key), _Job(lists, asked, width, until, n_scored)
        if found and self._has_time_for_missing_scores(found, job):
            found = None
        self._observe("cache_hit", found is not None)
        if found:
            return found
        if time.monotonic() + self.wait_s(job) > until:
            if self._working or self._batcher.waiting() or time.monotonic() < self._no_late_before:
                return None
            self._no_late_before, job = math.inf, replace(job, until=math.inf)
        promise = self._batcher.submit(job)
        lists.cache.put(key, promise)
        return promise

    def start(self) -> None:
        """Begin."""
        self._batcher.start()

    def stop(self) -> None:
        """Decode what was promised, and end the thread."""
        self._batcher.stop()

    def wait_s(self, *more: _Job) -> float:
        """How long it takes until all that waits is decoded, and `more` jobs behind it."""
        return max(0.0, self._busy_until - time.monotonic()) + self._seconds_of([*self._batcher.waiting(), *more])

    def _seconds_of(self, jobs: Sequence[_Job]) -> float:
        """How long it takes to decode these jobs, one batch after the other, and to score nothing."""
        seconds = 0.0
        while jobs:
            n = self._take(jobs)
            seconds += self._seconds(jobs[:n])
            jobs = jobs[n:]
        return seconds

    def _take(self, jobs: Sequence[_Job]) -> int:
        """How many can be decoded together, from the first on, without taking too long."""
        n = 1
        while n < len(jobs) and jobs[n].goes_with(jobs[0]) and self._seconds(jobs[: n + 1]) <= self._longest_s:
            n += 1
        return n

    def _seconds(self, jobs: Sequence[_Job], n_scored: int = 0) -> float:
        lists = jobs[0].lists
        return lists.timing.seconds(len(jobs) * max(lists.tokens(job.asked, n_scored) for job in jobs))

    def _n_scored(self, jobs: Sequence[_Job], now: float) -> int:
        """How many proposals can be scored for each of the jobs that are decoded now: all, half, a quarter ... or none.

        Neither these jobs nor those that wait may come too late for it, as far as is known.
        """
        n = jobs[0].n_scored
        if not n:
            return 0
        waiting = self._batcher.waiting()
        until, others_s = min(job.until for job in (*jobs, *waiting)), self._seconds_of(waiting)
        while n and now + self._seconds(jobs, n) + others_s > until:
            n = n // 2 if n >= 2 * _FEWEST_SCORED else 0
        return n

    def _has_time_for_missing_scores(self, found: "Future[Decoded | None]", job: _Job) -> bool:
        """Whether a list, made when time was short, has fewer scores than `job` wants and has time for."""
        made = found.result() if found.done() and not found.exception() else None
        if made is None or made.n_scored >= job.n_scored:
            return False
        return time.monotonic() + self.wait_s() + self._seconds([job], job.n_scored) <= job.until

    def _run(self, jobs: list[_Job]) -> list[Decoded | None]:
        self._working = True
        try:
            return self._decoded(jobs)
        finally:
            self._working, self._busy_until = False, 0.0

    def _decoded(self, jobs: list[_Job]) -> list[Decoded | None]:
        now = time.monotonic()
        lists = jobs[0].lists
        wanted = [job for job in jobs if now + self._seconds([job]) <= job.until]
        if not wanted:
            return [None] * len(jobs)
        n_scored = self._n_scored(wanted, now)
        self._busy_until = now + self._seconds(wanted, n_scored)
        self._observe("decode_batch", len(wanted))
        try:
            made: Iterator[Decoded | None] = iter(
                lists.decode([job.asked for job in wanted], max(job.width for job in wanted), n_scored)
            )
        except Exception:  # the other members answer all the same
            logger.exception("decoding failed for %d histories; they are answered without", len(wanted))
            made = iter([None] * len(wanted))
        seconds = time.monotonic() - now
        if math.isinf(jobs[0].until):
            self._no_late_before = now + seconds / _SHARE_OF_LATE
        self._observe("decode_s", seconds)
        return [next(made) if job in wanted else None for job in jobs]
