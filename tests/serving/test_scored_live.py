"""A live model whose LLM scores what others propose: the recommender's own lists, and as many scores as time allows."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.serving.test_engine import HISTORIES, LONG_MS, Heard, asked, assert_same
from tsrec import pipeline
from tsrec.columns import FUSED
from tsrec.config import load_config
from tsrec.recommenders import FUSE
from tsrec.recommenders.pool import SCORES
from tsrec.recommenders.ranking import Filter, empty_lists
from tsrec.recommenders.recommender import Recommender
from tsrec.serving.asked import Asked
from tsrec.serving.engine import Engine, Wish
from tsrec.serving.live_model import LiveModel
from tsrec.serving.work_time import Timing
from tsrec.store import ArtifactStore

_N_SCORED = 20
_S_PER_TOKEN = 0.4


class Served(NamedTuple):
    """A store, and a model in it that weighs the LLM's scores, by its fingerprint."""

    store: Path
    model: str

    def recommender(self, method: str = FUSED) -> Recommender:
        return Recommender.open(self.store, "shop", method, self.model)

    def engine(self, **settings: Any) -> Engine:
        return Engine(self.store, "shop", model=self.model, **settings)


@pytest.fixture(scope="module")
def served(finished_store: Path, shop_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Served:
    store = shutil.copytree(finished_store, tmp_path_factory.mktemp("scored") / "store")
    scored = ["decode.beams=10", f"fuse.llm_scores={_N_SCORED}", f"store={store}"]
    config = load_config(None, [*shop_settings, *scored])
    built = pipeline.build_all(config, pipeline.check(config, goal=FUSE), ArtifactStore(store))
    return Served(store, built["fuse"].fingerprint)


@pytest.fixture(scope="module")
def engine(served: Served) -> Iterator[Engine]:
    engine = served.engine(deadline_ms=LONG_MS)
    engine.start()
    yield engine
    engine.stop()


@pytest.mark.parametrize("method", ["fused", "tsrec", "popular"])
def test_lists_are_those_of_each_history_alone(engine: Engine, served: Served, method: str) -> None:
    assert engine.live.fusion.gate.scored and SCORES not in engine.live.methods
    recommender = served.recommender(method)
    wishes = [Wish(history, k=5 + place, method=method) for place, history in enumerate(HISTORIES)]
    for wish, answer in zip(wishes, asked(engine, *wishes), strict=True):
        (expected,) = recommender.recommend([wish.history], wish.k)
        assert_same(answer, expected)
        assert answer.left_out == ()
        assert not any(SCORES in item.proposed_by for item in answer.items)


def test_what_may_be_shown_holds_for_what_is_scored(engine: Engine, served: Served) -> None:
    recommender = served.recommender()
    allowed, denied = frozenset(f"i{n}" for n in range(8, 30)), frozenset(["i9", "i13"])
    wishes = [Wish(history, 10, allow=allowed, deny=denied) for history in HISTORIES]
    for wish, answer in zip(wishes, asked(engine, *wishes), strict=True):
        (expected,) = recommender.recommend([wish.history], 10, allowed - denied)
        assert_same(answer, expected)


def test_a_list_with_scores_is_decoded_once_and_goes_by_the_whole_history(served: Served) -> None:
    heard = Heard()
    engine = served.engine(deadline_ms=LONG_MS, observe=heard)
    engine.start()
    recent = tuple(f"i{n}" for n in range(engine.live.llm_lists["tsrec"].llm.config.max_history))
    for history in (recent, recent, ("i40", *recent)):  # others read what the LLM does not
        asked(engine, Wish(history))
    asked(engine, Wish(recent, method="tsrec"))
    assert heard["cache_hit"] == [0, 1, 0, 0]
    engine.stop()


def _slow_down(live: LiveModel, s_per_token: float) -> None:
    """Have the LLM's measured times be these, as if it were a very large one."""
    lists, one = live.llm_lists["tsrec"], Asked.of(live, Wish(("i1", "i7")))
    lists.timing = Timing()
    for n in (0, _N_SCORED):
        lists.timing.measured(lists.tokens(one, n), s_per_token * lists.tokens(one, n))


@pytest.mark.parametrize(("deadline_ms", "n_scored"), [(LONG_MS, 20), (34_000, 10), (22_000, 0)])
def test_the_deadline_decides_how_many_proposals_are_scored(served: Served, deadline_ms: int, n_scored: int) -> None:
    engine = served.engine(deadline_ms=deadline_ms)
    engine.start()
    live, one = engine.live, Asked.of(engine.live, Wish(("i1", "i7")))
    _slow_down(live, _S_PER_TOKEN)
    (answer,) = asked(engine, Wish(("i1", "i7")))
    assert answer.left_out == (() if n_scored == _N_SCORED else (SCORES,))
    recommender = served.recommender()
    pasts, allow = [one.past], Filter(live.catalogue.n_items)
    own = live.fusion.members["tsrec"].rank(pasts, live.fusion.n_candidates, allow)
    scores = live.fusion.scores(pasts, allow, own, n_scored) if n_scored else empty_lists(1, 1)
    (expected,) = recommender.rank(pasts, 10, allow, {SCORES: scores})
    assert_same(answer, expected)
    engine.stop()


@pytest.mark.parametrize("deadline_ms", [34_000, 22_000])
def test_a_list_with_fewer_scores_is_kept_only_until_there_is_time_for_all(served: Served, deadline_ms: int) -> None:
    heard, wish = Heard(), Wish(("i1", "i7"))
    engine = served.engine(deadline_ms=deadline_ms, observe=heard)
    engine.start()
    _slow_down(engine.live, _S_PER_TOKEN)
    assert asked(engine, wish)[0].left_out == (SCORES,)
    _slow_down(engine.live, _S_PER_TOKEN)  # decoding has shown how fast it is
    assert asked(engine, wish)[0].left_out == (SCORES,)
    assert heard["cache_hit"] == [0, 1], "what there is no time for is not begun"
    _slow_down(engine.live, _S_PER_TOKEN / 100)
    (expected,) = served.recommender().recommend([wish.history], wish.k)
    for _ in range(2):
        (answer,) = asked(engine, wish)
        assert answer.left_out == ()
        assert_same(answer, expected)
    assert heard["cache_hit"] == [0, 1, 0, 1]
    engine.stop()
