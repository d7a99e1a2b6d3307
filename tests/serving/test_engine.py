"""What the engine promises: the recommender's own lists, in time, whoever else asks."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsrec.errors import ArtifactError, DataError
from tsrec.recommenders.ranking import Filter, Ranked, empty_lists
from tsrec.recommenders.recommender import Recommendation, Recommender
from tsrec.serving.answering import Request, answer_all
from tsrec.serving.engine import Answer, BusyError, Engine, Wish

METHODS = ("fused", "tsrec", "popular", "transitions", "item-knn", "text-similarity", "sasrec")
ITEMS = [f"i{n}" for n in range(48)]
HISTORIES = (
    ("i1", "i7"),
    (),
    ("i40",),
    ("nobody knows",),
    ("i3", "gone", "i9", "i3"),
    tuple(f"i{n % 48}" for n in range(60)),
    ("i0", "i6", "i12", "i18"),
)
LONG_MS = 60_000


class Heard(dict[str, list[float]]):
    """What an engine tells of its work."""

    def __call__(self, name: str, value: float) -> None:
        self.setdefault(name, []).append(value)


@pytest.fixture(scope="module")
def engine(store: Path) -> Iterator[Engine]:
    engine = Engine(store, "shop", deadline_ms=LONG_MS)
    engine.start()
    yield engine
    engine.stop()


def asked(engine: Engine, *wishes: Wish) -> list[Answer]:
    return asyncio.run(engine.recommend(wishes))


def slow_down(engine: Engine) -> None:
    """Have the LLM take half a second more for each batch: the real one may be done within any deadline."""
    lists = engine.live.llm_lists["tsrec"]
    decode = lists.llm.rank

    def late(*arguments: Any) -> Ranked:
        time.sleep(0.5)
        return decode(*arguments)

    vars(lists.llm)["rank"] = late


def assert_same(answer: Answer, expected: Sequence[Recommendation]) -> None:
    """Item for item, but that items whose scores differ in the last bits alone may have changed places."""
    scores = {item.item_id: _score(item.score) for item in expected}
    assert len(answer.items) == len(expected)
    for mine, its in zip(answer.items, expected, strict=True):
        assert _score(mine.score) == pytest.approx(_score(its.score), abs=1e-3)
        if mine.item_id != its.item_id:
            assert scores.get(mine.item_id, scores[expected[-1].item_id]) == pytest.approx(_score(its.score), abs=1e-3)


def _score(score: float | None) -> float:
    return -np.inf if score is None else score


@pytest.mark.parametrize("method", METHODS)
def test_lists_are_those_of_each_history_alone(engine: Engine, store: Path, method: str) -> None:
    recommender = Recommender.open(store, "shop", method)
    wishes = [Wish(history, k=5 + place, method=method) for place, history in enumerate(HISTORIES)]
    for wish, answer in zip(wishes, asked(engine, *wishes), strict=True):
        (expected,) = recommender.recommend([wish.history], wish.k)
        assert_same(answer, expected)
        assert [item.rank for item in answer.items] == list(range(1, wish.k + 1))
        assert (answer.method, answer.left_out) == (method, ())
        assert answer.unknown == tuple(item for item in wish.history if item not in ITEMS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("allow", "deny"),
    [
        (["i3", "i9", "i40", "not in the catalogue"], []),
        (ITEMS[10:], []),
        (ITEMS[20:], ["i40", "i41"]),
        (None, ["i7", "i13"]),
        (None, ITEMS[1:]),
        ([], []),
        ([*ITEMS, *(f"x{n}" for n in range(1_000))], []),
    ],
)
def test_what_may_be_shown_is_a_constraint(
    engine: Engine, store: Path, method: str, allow: list[str] | None, deny: list[str]
) -> None:
    recommender = Recommender.open(store, "shop", method)
    wishes = [
        Wish(history, 10, method, None if allow is None else frozenset(allow), frozenset(deny)) for history in HISTORIES
    ]
    left = set(ITEMS if allow is None else allow) - set(deny)
    for wish, answer in zip(wishes, asked(engine, *wishes), strict=True):
        assert {item.item_id for item in answer.items} <= left
        (expected,) = recommender.recommend([wish.history], 10, left)
        assert_same(answer, expected)


@pytest.mark.parametrize("method", ["fused", "tsrec"])
def test_few_of_a_large_catalogue_are_decoded_over_a_trie_of_their_own(
    engine: Engine, store: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsrec.serving.asked._PER_ALLOWED", 0)  # as if the catalogue were as large as that
    recommender = Recommender.open(store, "shop", method)
    some = [frozenset(ITEMS[start : start + 7]) for start in range(12)]
    wishes = [Wish(("i1", "i7"), 5, method, allow, frozenset(["i8"])) for allow in [*some, *some[:2]]]
    for wish, answer in zip(wishes, asked(engine, *wishes), strict=True):
        (expected,) = recommender.recommend([wish.history], 5, (wish.allow or set()) - wish.deny)
        assert_same(answer, expected)


@pytest.mark.parametrize("method", METHODS)
def test_repeats_are_left_out_where_that_is_asked(engine: Engine, store: Path, method: str) -> None:
    opened = Recommender.open(store, "shop", method)
    strict = Recommender(method, opened.member, opened.catalogue, "forbidden")
    wishes = [Wish(history, 10, method, no_repeats=True) for history in HISTORIES]
    for wish, answer in zip(wishes, asked(engine, *wishes), strict=True):
        assert not {item.item_id for item in answer.items} & set(wish.history)
        (expected,) = strict.recommend([wish.history], 10)
        assert_same(answer, expected)


def test_a_history_of_ten_thousand_events_is_answered(engine: Engine) -> None:
    long = tuple(f"i{n * n % 53}" for n in range(10_000))
    whole, last = asked(engine, Wish(long), Wish(long, method="tsrec"))
    assert len(whole.items) == len(last.items) == 10
    assert set(whole.unknown) == {f"i{n}" for n in range(48, 53)} & set(long)


def test_a_list_says_what_its_items_are_and_why(engine: Engine) -> None:
    plain, explained = asked(engine, Wish(("i1", "i7")), Wish(("i1", "i7"), explain=True))
    assert [item.item_id for item in plain.items] == [item.item_id for item in explained.items]
    assert {item.reason for item in plain.items} == {None} and all(item.reason for item in explained.items)
    assert {item.item_id: item.title for item in plain.items}.get("i1", "glue stick model a heavy duty") == (
        "glue stick model a heavy duty"
    )
    assert all(item.proposed_by for item in plain.items if item.score is not None)
    assert plain.model == engine.live.fingerprint


def test_histories_that_come_together_are_decoded_together_and_once(store: Path) -> None:
    heard = Heard()
    engine = Engine(store, "shop", deadline_ms=LONG_MS, observe=heard)
    engine.start()
    histories = [(f"i{n}", f"i{n + 1}") for n in range(20)]
    first = asked(engine, *(Wish(history) for history in [*histories, *histories]))
    assert sum(heard["decode_batch"]) == 20 and max(heard["decode_batch"]) > 1
    assert sum(heard["cache_hit"]) == 20
    again = asked(engine, *(Wish(history, k=3) for history in histories))
    assert sum(heard["decode_batch"]) == 20
    for ten, three in zip(first[:20], again, strict=True):
        assert [item.item_id for item in ten.items[:3]] == [item.item_id for item in three.items]
        assert [item.score for item in three.items] == pytest.approx([item.score for item in ten.items[:3]], abs=1e-5)
    asked(engine, Wish(histories[0], deny=frozenset(["i5"])), Wish(histories[0], allow=frozenset(ITEMS[:40])))
    assert sum(heard["decode_batch"]) == 22
    engine.stop()


def test_the_list_goes_by_the_last_items_that_the_llm_sees(store: Path) -> None:
    heard = Heard()
    engine = Engine(store, "shop", deadline_ms=LONG_MS, observe=heard)
    engine.start()
    last = engine.live.llm_lists["tsrec"].llm.config.max_history
    recent = tuple(ITEMS[:last])
    asked(engine, Wish(("i30", *recent)))
    asked(engine, Wish(("i31", "i32", *recent)))
    assert heard["cache_hit"] == [0, 1]
    asked(engine, Wish(("i31", *recent), no_repeats=True))
    asked(engine, Wish(("i32", *recent), no_repeats=True))
    assert heard["cache_hit"] == [0, 1, 0, 0]
    engine.stop()


def test_what_would_come_too_late_is_left_out_and_the_others_answer(store: Path) -> None:
    engine = Engine(store, "shop", deadline_ms=1)
    engine.start()
    slow_down(engine)
    fused, llm, other, nothing = asked(
        engine,
        Wish(("i1", "i7")),
        Wish(("i3", "i9"), method="tsrec"),
        Wish(("i1", "i7"), method="sasrec"),
        Wish((), method="tsrec"),
    )
    assert fused.left_out == llm.left_out == ("tsrec",) and other.left_out == nothing.left_out == ()
    assert (llm.method, other.method, nothing.method) == ("fused", "sasrec", "tsrec")
    recommender = Recommender.open(store, "shop")
    for answer, history in ((fused, ["i1", "i7"]), (llm, ["i3", "i9"])):
        past, n_items = recommender.numbers(history), recommender.catalogue.n_items
        (expected,) = recommender.rank([past], 10, Filter(n_items), {"tsrec": empty_lists(1, 1)})
        assert_same(answer, expected)
        assert not any("tsrec" in item.proposed_by for item in answer.items)
    engine.stop()


def test_only_what_is_begun_while_nothing_else_is_may_come_too_late(store: Path) -> None:
    heard = Heard()
    engine = Engine(store, "shop", deadline_ms=1, observe=heard)
    engine.start()
    slow_down(engine)
    answers = asked(engine, *(Wish((f"i{n}",)) for n in range(40)))
    assert all(answer.left_out for answer in answers) and sum(heard["left_out"]) == 40
    engine.stop()
    assert sum(heard["decode_batch"]) == 1


def test_a_list_that_came_too_late_is_there_for_the_next_who_asks(store: Path) -> None:
    engine = Engine(store, "shop", deadline_ms=1)
    engine.start()
    slow_down(engine)
    (late,) = asked(engine, Wish(("i1", "i7")))
    assert late.left_out == ("tsrec",)
    for _ in range(1_000):
        (next_one,) = asked(engine, Wish(("i1", "i7")))
        if not next_one.left_out:
            break
    (expected,) = Recommender.open(store, "shop").recommend([["i1", "i7"]], 10)
    assert_same(next_one, expected)
    engine.stop()


def test_more_than_may_wait_are_refused(engine: Engine, store: Path) -> None:
    small = Engine(store, "shop", deadline_ms=LONG_MS, max_waiting=3)
    small.start()

    async def crowd() -> list[object]:
        asking = [small.recommend([Wish((f"i{n}",)), Wish(())]) for n in range(2)]
        return await asyncio.gather(*asking, return_exceptions=True)

    answered, refused = asyncio.run(crowd())
    assert isinstance(answered, list) and len(answered) == 2
    assert isinstance(refused, BusyError) and refused.retry_after_s >= 1
    assert len(asked(small, Wish(()), Wish(()), Wish(()))) == 3
    assert small.state()["waiting"] == 0
    small.stop()


def test_who_is_refused_is_told_when_what_waits_will_be_answered(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    per_wish_s, n_waiting = 0.04, 40

    def slowly(requests: Sequence[Request]) -> list[Answer]:
        time.sleep(per_wish_s * len(requests))
        return answer_all(requests)

    monkeypatch.setattr("tsrec.serving.engine.answer_all", slowly)
    engine = Engine(store, "shop", max_waiting=n_waiting)
    engine.start()
    wish = Wish(("i1",), method="popular")
    assert engine.retry_after_s() == 1, "nothing is known yet"
    asked(engine, wish)
    assert engine.retry_after_s() == 1, "nothing waits"

    async def crowd() -> Any:
        return await asyncio.gather(
            engine.recommend([wish] * n_waiting), engine.recommend([wish]), return_exceptions=True
        )

    started = time.monotonic()
    _, refused = asyncio.run(crowd())
    took = time.monotonic() - started
    assert isinstance(refused, BusyError)
    assert per_wish_s * n_waiting <= refused.retry_after_s <= 3 * took
    engine.stop()


def test_an_unknown_method_is_refused_with_the_names_of_those_there_are(engine: Engine) -> None:
    with pytest.raises(DataError, match=r"no method 'bpr'; there are fused, tsrec"):
        asked(engine, Wish((), method="bpr"))


def test_without_a_model_it_does_not_start(tmp_path: Path) -> None:
    engine = Engine(tmp_path, "books")
    with pytest.raises(ArtifactError, match="no finished recommender of 'books'"):
        engine.start()
    engine.stop()


def test_what_people_ask_about_the_model(engine: Engine) -> None:
    live = engine.live
    assert live.methods == METHODS or set(live.methods) == set(METHODS)
    assert list(live.items["item_id"]) == live.catalogue.item_ids.tolist()
    assert live.codes.shape == (48, 3) and {"token", "keywords"} <= set(live.tokens.columns)
