"""Answers wishes by the live model of a data set, in time: one engine per process, asked from one event loop.

One thread decodes for the LLM, another asks the cheap members and orders what all propose: the second never waits for
the first longer than the deadline leaves.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tsrec.columns import FUSED
from tsrec.serving.answering import Request, answer_all
from tsrec.serving.asked import Asked
from tsrec.serving.batching import Batcher
from tsrec.serving.champion_follower import ChampionFollower
from tsrec.serving.decoding import Decoder
from tsrec.serving.live_model import LiveModel
from tsrec.serving.llm_lists import Decoded
from tsrec.serving.observing import Observe, observe_nothing
from tsrec.serving.wishes import Answer, BusyError, ListedItem, Wish
from tsrec.serving.work_time import Timing
from tsrec.store import ArtifactStore

__all__ = ["Answer", "BusyError", "Engine", "ListedItem", "Wish"]

_RANKED_AT_ONCE = 32
_MANY_IDS = 5_000  # of one request; they are looked up beside the event loop
_RESERVE = (0.01, 0.4)  # of the deadline, kept for the cheap members and the gate: seconds at least, share at most
_FORGET = 0.98  # how long the slowest of them took, from one answer to the next


class Engine:
    """Follows the champion of a data set, and answers with it.

    Args:
        store: the artifact store, or where it is.
        dataset: name of the data set.
        deadline_ms: how long an answer may take; an LLM that would take longer is left out.
        model: a model other than the champion, by the first digits of its fingerprint; it is not followed.
        max_waiting: wishes that may wait; more are refused.
        cache_entries: lists of each LLM that are kept.
        observe: is told what is done (`tsrec.serving.observing`), from any thread.
    """

    def __init__(
        self,
        store: ArtifactStore | str | Path,
        dataset: str,
        *,
        deadline_ms: int = 150,
        model: str | None = None,
        max_waiting: int = 256,
        cache_entries: int = 10_000,
        observe: Observe = observe_nothing,
    ) -> None:
        self.store = store if isinstance(store, ArtifactStore) else ArtifactStore(store)
        self.dataset, self.deadline_ms, self.max_waiting = dataset, deadline_ms, max_waiting
        self._observe, self._waiting = observe, 0
        address = self.store.remote.url if self.store.remote else self.store.root
        self._follower = ChampionFollower(address, dataset, cache_entries, model)
        self._decoder = Decoder(deadline_ms / 1000, observe)
        self._ranker = Batcher("rank", self._answer_all, lambda waiting: min(len(waiting), _RANKED_AT_ONCE))
        self._ranking_s = 0.0
        self._rank_time = Timing()  # of wishes that are ranked together

    def open(self) -> None:
        """Open the champion and warm it, where that was not done yet. Starts no thread: a process that has done so may
        fork others, which start.

        Raises:
            ArtifactError: the store has no model of the data set, or it cannot be opened.
        """
        self._follower.open()

    def start(self) -> None:
        """Open the champion, answer, and follow it from now on. Raises as `open` does."""
        self.open()
        self._follower.start()
        self._decoder.start()
        self._ranker.start()

    def stop(self) -> None:
        """Follow no longer; what was asked is still answered."""
        self._follower.stop()
        self._decoder.stop()
        self._ranker.stop()

    @property
    def live(self) -> LiveModel:
        """The model that answers now; whoever asks it more than once takes it once."""
        return self._follower.live

    def retry_after_s(self) -> int:
        """Seconds until what waits now will be answered, by what decoding and ranking took lately; at least 1."""
        decoding_s = min(self._decoder.wait_s(), self.deadline_ms / 1000)
        ranking_s = self._rank_time.seconds(_RANKED_AT_ONCE) * self._waiting / _RANKED_AT_ONCE
        return max(1, math.ceil(decoding_s + ranking_s))

    def state(self) -> dict[str, Any]:
        """See `ChampionFollower.state`; and how many wishes wait."""
        return {**self._follower.state(), "waiting": self._waiting}

    async def recommend(self, wishes: Sequence[Wish], live: LiveModel | None = None) -> list[Answer]:
        """The answers, in order, all by one model: by `live`, or by the one that answers now.

        Raises:
            DataError: there is no such method.
            BusyError: too many wishes wait.
        """
        until = time.monotonic() + self.deadline_ms / 1000
        live = live or self.live
        for wish in wishes:
            live.recommender(wish.method)
        if self._waiting + len(wishes) > self.max_waiting:
            raise BusyError(self.retry_after_s())
        self._waiting += len(wishes)
        try:
            asked = await self._looked_up(live, wishes)
            return list(await asyncio.gather(*(self._answered(one, until) for one in asked)))
        finally:
            self._waiting -= len(wishes)

    async def _looked_up(self, live: LiveModel, wishes: Sequence[Wish]) -> list[Asked]:
        n_ids = sum(len(wish.history) + len(wish.allow or ()) + len(wish.deny) for wish in wishes)
        if n_ids > _MANY_IDS:
            return await asyncio.to_thread(lambda: [Asked.of(live, wish) for wish in wishes])
        return [Asked.of(live, wish) for wish in wishes]

    async def _answered(self, asked: Asked, until: float) -> Answer:
        live, method = asked.live, asked.wish.method
        promises: dict[str, Future[Decoded | None] | None] = {}
        least, share = _RESERVE
        latest = until - min(max(least, self._ranking_s), share * self.deadline_ms / 1000)
        if len(asked.past):
            names = live.llms if method == FUSED else [method] if method in live.llms else []
            promises = {name: self._decoder.ask(live.llm_lists[name], asked, latest) for name in names}
        pending = [asyncio.wrap_future(promise) for promise in promises.values() if promise and not promise.done()]
        if pending:
            await asyncio.wait(pending, timeout=latest - time.monotonic())
        given = {name: promise.result() if promise and promise.done() else None for name, promise in promises.items()}
        request = Request(asked, given)
        self._observe("left_out", len(request.left_out))
        started = time.monotonic()
        answer = await asyncio.wrap_future(self._ranker.submit(request))
        self._ranking_s = max(_FORGET * self._ranking_s, time.monotonic() - started)
        return answer

    def _answer_all(self, requests: list[Request]) -> list[Answer]:
        started = time.monotonic()
        answers = answer_all(requests)
        seconds = time.monotonic() - started
        self._rank_time.measured(len(requests), seconds)
        self._observe("rank_batch", len(requests))
        self._observe("rank_s", seconds)
        return answers
