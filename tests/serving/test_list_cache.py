"""Lists are kept until others are used more; a promise that was not kept is forgotten."""

from concurrent.futures import Future

from tsrec.recommenders.ranking import Ranked, empty_lists
from tsrec.serving.list_cache import ListCache


def made(ranked: Ranked | None) -> "Future[Ranked | None]":
    future: Future[Ranked | None] = Future()
    future.set_result(ranked)
    return future


def test_the_least_recently_used_goes_first() -> None:
    cache: ListCache[str, Ranked] = ListCache(2)
    lists = {name: made(empty_lists(1, 1)) for name in "abc"}
    cache.put("a", lists["a"])
    cache.put("b", lists["b"])
    assert cache.get("a") is lists["a"]
    cache.put("c", lists["c"])
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (lists["a"], None, lists["c"])


def test_a_promise_is_there_until_it_is_broken() -> None:
    cache: ListCache[str, Ranked] = ListCache(2)
    promise: Future[Ranked | None] = Future()
    cache.put("a", promise)
    assert cache.get("a") is promise
    promise.set_result(None)
    assert cache.get("a") is None
    failed: Future[Ranked | None] = Future()
    failed.set_exception(ValueError("no memory"))
    cache.put("a", failed)
    assert cache.get("a") is None
