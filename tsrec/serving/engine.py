"""Answers wishes by the live model of a data set: one engine per process, asked from one event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tsrec.recommenders.ranking import Filter
from tsrec.recommenders.recommender import Recommendation
from tsrec.serving.champion_follower import ChampionFollower
from tsrec.serving.live_model import LiveModel
from tsrec.serving.wishes import Answer, BusyError, ListedItem, Wish
from tsrec.store import ArtifactStore

__all__ = ["Answer", "BusyError", "Engine", "ListedItem", "Wish"]


class Engine:
    """Follows the champion of a data set, and answers with it.

    Args:
        store: the artifact store, or where it is.
        dataset: name of the data set.
        deadline_ms: how long an answer may take; what has no time by then is left out.
        model: a model other than the champion, by the first digits of its fingerprint; it is not followed.
        max_waiting: wishes that may wait; more are refused.
    """

    def __init__(
        self,
        store: ArtifactStore | str | Path,
        dataset: str,
        *,
        deadline_ms: int = 150,
        model: str | None = None,
        max_waiting: int = 256,
    ) -> None:
        self.store = store if isinstance(store, ArtifactStore) else ArtifactStore(store)
        self.dataset, self.deadline_ms, self.max_waiting = dataset, deadline_ms, max_waiting
        self._follower = ChampionFollower(self.store, dataset, self._warm, model)
        self._worker = ThreadPoolExecutor(1, "recommend")
        self._waiting = 0

    def start(self) -> None:
        """Open the champion, warm it, and follow it from now on.

        Raises:
            ArtifactError: the store has no model of the data set, or it cannot be opened.
        """
        self._follower.start()

    def stop(self) -> None:
        """Follow no longer; wishes that wait are still answered."""
        self._follower.stop()
        self._worker.shutdown()

    @property
    def live(self) -> LiveModel:
        """The model that answers now; whoever asks it more than once takes it once."""
        return self._follower.live

    def state(self) -> dict[str, Any]:
        """See `ChampionFollower.state`; and how many wishes wait."""
        return {**self._follower.state(), "waiting": self._waiting}

    async def recommend(self, wishes: Sequence[Wish]) -> list[Answer]:
        """The answers, in order, all by one model.

        Raises:
            DataError: there is no such method.
            BusyError: too many wishes wait.
        """
        live = self.live
        for wish in wishes:
            live.recommender(wish.method)
        if self._waiting + len(wishes) > self.max_waiting:
            raise BusyError(1)
        self._waiting += len(wishes)
        try:
            loop = asyncio.get_running_loop()
            return list(
                await asyncio.gather(*(loop.run_in_executor(self._worker, _answer, live, wish) for wish in wishes))
            )
        finally:
            self._waiting -= len(wishes)

    def _warm(self, live: LiveModel) -> None:
        history = tuple(live.catalogue.item_ids[live.catalogue.by_popularity()[:2]])
        for method in live.methods:
            self._worker.submit(_answer, live, Wish(history, method=method)).result()


def _answer(live: LiveModel, wish: Wish) -> Answer:
    recommender = live.recommender(wish.method)
    past, n_items = recommender.numbers(wish.history), live.catalogue.n_items
    strict = recommender.repeats == "forbidden" if wish.no_repeats is None else wish.no_repeats
    blocked = [past if strict else past[:0], recommender.numbers(wish.deny)]
    allowed = None
    if wish.allow is not None:
        allowed = np.zeros(n_items, dtype=bool)
        allowed[recommender.numbers(wish.allow)] = True
    (found,) = recommender.rank([past], wish.k, Filter(n_items, [np.concatenate(blocked)], allowed))
    return Answer(
        tuple(_listed(live, wish, rank, item) for rank, item in enumerate(found, start=1)),
        live.fingerprint,
        wish.method,
        tuple(recommender.unknown(wish.history)),
        (),
    )


def _listed(live: LiveModel, wish: Wish, rank: int, item: Recommendation) -> ListedItem:
    reason = None
    if wish.explain:
        reason = live.explainer.reason(item.item_id, wish.history, filled=item.score is None)
    return ListedItem(item.item_id, live.explainer.title(item.item_id), rank, item.score, item.proposed_by, reason)
