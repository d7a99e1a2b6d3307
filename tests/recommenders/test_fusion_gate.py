"""The pool's features by hand, the gate against a plain softmax, and what fitting it promises."""

import json

import numpy as np
import pytest

from tsrec.recommenders.fusion_gate import Gate, new_gate, prior_weights, with_target_in_pool
from tsrec.recommenders.pool import ITEM_FEATURES, MEMBER_FEATURES, build_pool
from tsrec.recommenders.ranking import Ranked

N = 30


def _lists(items: list[list[int]], scores: list[list[float]]) -> Ranked:
    return Ranked(np.array(items, dtype=np.int32), np.array(scores, dtype=np.float32))


def _simulated(n: int, seed: int) -> tuple[dict[str, Ranked], list[np.ndarray], np.ndarray, np.ndarray]:
    """One member that mostly knows, one that guesses, of N items; the right item comes from the first."""
    random = np.random.default_rng(seed)
    knows = np.argsort(random.random((n, N)), axis=1)[:, :8]
    guesses = np.argsort(random.random((n, N)), axis=1)[:, :8]
    falling = np.tile(np.linspace(3, 0, 8), (n, 1))
    chance = np.exp(falling) / np.exp(falling).sum(axis=1, keepdims=True)
    place = (random.random((n, 1)) > chance.cumsum(axis=1)).sum(axis=1).clip(max=7)
    lists = {"knows": _lists(knows.tolist(), falling.tolist()), "guesses": _lists(guesses.tolist(), falling.tolist())}
    pasts = [random.integers(0, N, 4) for _ in range(n)]
    return lists, pasts, knows[np.arange(n), place], random.random((N, 2))


def _fitted(lists: dict[str, Ranked], pasts: list[np.ndarray], right: np.ndarray, popularity: np.ndarray) -> Gate:
    gate = new_gate(lists, depth=8)
    return gate.fitted([with_target_in_pool(gate.pool(lists, pasts, popularity), right)], [right])


def _hit_rate(
    gate: Gate, lists: dict[str, Ranked], pasts: list[np.ndarray], right: np.ndarray, popularity: np.ndarray
) -> float:
    fused, _ = gate.rank(gate.pool(lists, pasts, popularity), 1)
    return float((fused.items[:, 0] == right).mean())


def test_features_by_hand() -> None:
    lists = {
        "one": _lists([[4, 7, -1], [7, 2, 3]], [[2.0, 1.0, -np.inf], [3.0, 3.0, -np.inf]]),
        "two": _lists([[7, 1, 2], [5, -1, -1]], [[1.0, 0.0, -1.0], [9.0, -np.inf, -np.inf]]),
    }
    popularity = np.arange(20, dtype=np.float32).reshape(10, 2)
    pool = build_pool(
        lists, {"one": 1.0, "two": 2.0}, [np.array([7, 4, 7]), np.array([], dtype=np.int64)], popularity, depth=2
    )
    assert list(zip(pool.rows.tolist(), pool.items.tolist(), strict=True)) == [
        (0, 1), (0, 4), (0, 7), (1, 2), (1, 5), (1, 7),
    ]  # fmt: skip
    assert pool.ranks.tolist() == [[0, 2], [1, 0], [2, 1], [2, 0], [0, 1], [1, 0]]
    features = dict(
        zip(
            [*MEMBER_FEATURES, *(f"two {name}" for name in MEMBER_FEATURES), *ITEM_FEATURES],
            pool.features[2],
            strict=True,
        )
    )
    share = 1 / (1 + np.e)  # of scores 2 and 1
    assert features["listed"] == features["two listed"] == 1
    assert features["share"] == pytest.approx(share)
    assert features["log_share"] == pytest.approx(1 + np.log(share) / 12)
    assert features["reciprocal_rank"] == 0.5 and features["two reciprocal_rank"] == 1
    assert features["log_rank"] == pytest.approx(1 - np.log(2) / np.log(3))
    assert features["two share"] == pytest.approx(1 / (1 + np.exp(-0.5)))  # at twice the temperature
    assert (features["popularity"], features["recent_popularity"]) == (14, 15)
    assert (features["repeat"], features["repeat_recency"]) == (1, 1)
    assert features["repeat_count"] == pytest.approx(np.log(2))
    assert not pool.features[3, 5:10].any() and not pool.features[5, -3:].any()


def test_scores_are_log_probabilities_within_the_pool() -> None:
    lists, pasts, _, popularity = _simulated(20, seed=1)
    gate = new_gate(lists, depth=8)
    fused, member_ranks = gate.rank(gate.pool(lists, pasts, popularity), 16)
    np.testing.assert_allclose(np.exp(fused.scores).sum(axis=1), 1, rtol=1e-4)
    assert (np.diff(fused.scores, axis=1)[np.isfinite(fused.scores[:, 1:])] <= 0).all()
    for row in range(20):
        for place, item in enumerate(fused.items[row]):
            for member, ranked in enumerate(lists.values()):
                listed = ranked.items[row].tolist()
                assert member_ranks[row, place, member] == (listed.index(item) + 1 if item in listed else 0)


def test_an_empty_history_gets_an_empty_list() -> None:
    lists, pasts, _, popularity = _simulated(20, seed=1)
    empty = [np.array([], dtype=np.int64) if row in (0, 7, 19) else past for row, past in enumerate(pasts)]
    gate = new_gate(lists, depth=8)
    fused, member_ranks = gate.rank(gate.pool(lists, empty, popularity), 5)
    is_empty = (fused.items < 0).all(axis=1)
    assert np.flatnonzero(is_empty).tolist() == [0, 7, 19] and not member_ranks[is_empty].any()
    whole, _ = gate.rank(gate.pool(lists, pasts, popularity), 5)
    assert fused.items[~is_empty].tolist() == whole.items[~is_empty].tolist()
    alone = {name: own.take(np.arange(1)) for name, own in lists.items()}
    nothing, _ = gate.rank(gate.pool(alone, empty[:1], popularity), 5)
    assert (nothing.items < 0).all()


def test_the_fit_finds_who_knows() -> None:
    lists, pasts, right, popularity = _simulated(600, seed=2)
    gate = _fitted(lists, pasts, right, popularity)
    other = _simulated(600, seed=3)
    assert _hit_rate(gate, *other) > 1.2 * _hit_rate(new_gate(lists, 8), *other)
    assert _hit_rate(gate, *other) == pytest.approx((other[0]["knows"].items[:, 0] == other[2]).mean(), abs=0.02)


def test_the_gradient_vanishes_at_the_fit_and_any_start_ends_there() -> None:
    lists, pasts, right, popularity = _simulated(300, seed=4)
    gate = _fitted(lists, pasts, right, popularity)
    pool = with_target_in_pool(gate.pool(lists, pasts, popularity), right)
    assert set(pool.rows.tolist()) == set(range(300))  # all of them are listed by the member that knows

    def loss(weights: np.ndarray) -> float:
        scores = pool.features @ weights
        total = 0.0
        for row in range(300):
            mine = pool.rows == row
            total += np.log(np.exp(scores[mine]).sum()) - scores[mine & (pool.items == right[row])][0]
        return float(total + ((weights - prior_weights(2)) ** 2).sum())

    best = loss(gate.weights)
    random = np.random.default_rng(0)
    for _ in range(20):
        assert loss(gate.weights + random.normal(0, 0.1, len(gate.weights))) > best


def test_the_fit_does_not_depend_on_the_order_of_sums() -> None:
    lists, pasts, right, popularity = _simulated(400, seed=6)
    gate = new_gate(lists, depth=8)

    def fitted(order: np.ndarray, n_blocks: int) -> np.ndarray:
        blocks = np.array_split(order, n_blocks)
        pools = [
            gate.pool({name: ranked.take(rows) for name, ranked in lists.items()}, [pasts[r] for r in rows], popularity)
            for rows in blocks
        ]
        known = [with_target_in_pool(pool, right[rows]) for pool, rows in zip(pools, blocks, strict=True)]
        return gate.fitted(known, [right[rows] for rows in blocks]).weights

    together = fitted(np.arange(400), 1)
    for seed, n_blocks in ((0, 1), (1, 7)):
        order = np.random.default_rng(seed).permutation(400)
        np.testing.assert_allclose(fitted(order, n_blocks), together, atol=1e-8)


def test_the_second_fit_is_about_the_first_hundred_of_what_the_first_says() -> None:
    """Half of the right items are among the first of one member, half far down the list of another."""
    random, n, n_items, length = np.random.default_rng(7), 200, 400, 150
    orders = [np.argsort(random.random((n, n_items)), axis=1)[:, :length] for _ in range(2)]
    scores = np.tile(np.linspace(3, 0, length), (n, 1))
    lists = {name: _lists(items.tolist(), scores.tolist()) for name, items in zip(("near", "far"), orders, strict=True)}
    is_near = random.random(n) < 0.5
    place = np.where(is_near, random.integers(0, 10, n), random.integers(60, length, n))
    right = np.where(is_near, orders[0][np.arange(n), place], orders[1][np.arange(n), place])
    pasts, popularity = [random.integers(0, n_items, 4) for _ in range(n)], random.random((n_items, 2))
    gate = new_gate(lists, length)
    pool = with_target_in_pool(gate.pool(lists, pasts, popularity), right)
    fitted = gate.fitted([pool], [right])
    focused = fitted.fitted([fitted.top_pool(pool, right)], [right])
    said = pool.features.astype(np.float64) @ fitted.weights

    def loss(weights: np.ndarray) -> float:
        total = float(((weights - prior_weights(2)) ** 2).sum())
        for row in range(n):
            mine = np.flatnonzero(pool.rows == row)
            first = mine[np.argsort(-said[mine], kind="stable")][:100]
            if right[row] in pool.items[first]:
                among = pool.features[first].astype(np.float64) @ weights
                total += np.log(np.exp(among).sum()) - among[pool.items[first] == right[row]][0]
        return total

    best = loss(focused.weights)
    assert best < loss(fitted.weights) - 1
    for _ in range(10):
        assert loss(focused.weights + random.normal(0, 0.1, len(focused.weights))) > best


def test_of_a_pool_of_a_hundred_all_is_kept() -> None:
    lists, pasts, right, popularity = _simulated(300, seed=4)
    gate = _fitted(lists, pasts, right, popularity)
    pool = with_target_in_pool(gate.pool(lists, pasts, popularity), right)
    assert gate.top_pool(pool, right).items.tolist() == pool.items.tolist()


def test_without_targets_the_prior_stands_and_ranks_what_more_members_rank_high() -> None:
    lists = {
        "a": _lists([[1, 2, 3]], [[3.0, 2.0, 1.0]]),
        "b": _lists([[2, 1, 4]], [[3.0, 2.0, 1.0]]),
        "c": _lists([[2, 5, 1]], [[3.0, 2.0, 1.0]]),
    }
    gate = new_gate(lists, 3)
    pool = gate.pool(lists, [np.array([0])], np.zeros((9, 2)))
    fitted = gate.fitted([with_target_in_pool(pool, np.array([8]))], [np.array([8])])
    assert fitted.weights.tolist() == prior_weights(3).tolist()
    assert gate.rank(pool, 3)[0].items.tolist() == [[2, 1, 5]]


def test_a_gate_survives_json() -> None:
    lists, pasts, right, popularity = _simulated(50, seed=5)
    gate = _fitted(lists, pasts, right, popularity)
    again = Gate.from_json(json.loads(json.dumps(gate.to_json(), sort_keys=True)))  # as the store writes it
    assert again.members == gate.members and again.temperatures == gate.temperatures and again.depth == gate.depth
    assert again.weights.tolist() == gate.weights.tolist()
