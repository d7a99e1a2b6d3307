"""The LLM's scores of what others propose: which proposals, by hand; and in the pool, against plain loops."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recommenders.test_llm import N_ITEMS, tiny_llm
from tsrec.columns import LLM
from tsrec.recommenders.fusion_gate import Gate, new_gate, with_target_in_pool
from tsrec.recommenders.pool import ITEM_FEATURES, MEMBER_FEATURES, SCORE_FEATURES, SCORES, build_pool
from tsrec.recommenders.ranking import Filter, Ranked
from tsrec.recommenders.scored_proposals import first_proposals, score_lists


def _lists(items: list[list[int]], scores: list[list[float]] | None = None) -> Ranked:
    """Lists of items, -1 behind the last; scores fall from 0 where none are given."""
    width = max(map(len, items))
    padded = np.array([row + [-1] * (width - len(row)) for row in items], dtype=np.int32).reshape(len(items), width)
    falling = np.tile(-np.arange(width, dtype=np.float32), (len(items), 1))
    given_scores = falling if scores is None else np.array(scores, dtype=np.float32)
    return Ranked(padded, np.where(padded < 0, -np.inf, given_scores).astype(np.float32))


_ITEMS = st.lists(st.integers(0, 20), unique=True, max_size=8)


@given(st.lists(st.lists(_ITEMS, min_size=3, max_size=3), min_size=1, max_size=4), st.integers(1, 12))
def test_the_first_proposals_are_those_of_a_plain_reciprocal_rank_fusion(rows: list[list[list[int]]], n: int) -> None:
    lists = {name: _lists([row[number] for row in rows]) for number, name in enumerate(("a", "b", "c"))}
    found = first_proposals(lists, n)
    for row, members in zip(found, rows, strict=True):
        totals: dict[int, float] = {}
        for items in members:
            for place, item in enumerate(items):
                totals[item] = totals.get(item, 0.0) + 1 / (11 + place)
        best = sorted(totals, key=lambda item: (-round(totals[item], 12), item))[:n]
        assert row.tolist() == best + [-1] * (n - len(best))


def test_what_popularity_filled_is_no_proposal() -> None:
    lists = {"a": _lists([[3, 4, 5]], [[1.0, -np.inf, -np.inf]])}
    assert first_proposals(lists, 2).tolist() == [[3, -1]]


def test_scores_are_those_of_beams_and_of_teacher_forcing() -> None:
    llm, random = tiny_llm(precision="float32"), np.random.default_rng(3)
    pasts = [random.integers(0, N_ITEMS, length) for length in (5, 0, 9, 1)]
    popular = _lists([random.permutation(N_ITEMS)[:20].tolist() for _ in pasts])
    texts = _lists([random.permutation(N_ITEMS)[:15].tolist() for _ in pasts])
    other_llm = _lists([[0], [1], [2], [3]])
    own = llm.rank(pasts, 8, Filter(N_ITEMS))
    lists = {LLM: own, "tsrec-x": other_llm, "popular": popular, "text-similarity": texts}
    found = score_lists(llm, pasts, lists, 10)
    proposed = first_proposals({"popular": popular, "text-similarity": texts}, 10)
    assert found.items.shape == found.scores.shape == (4, 18)
    for row, past in enumerate(pasts):
        items = found.items[row][found.items[row] >= 0]
        if not len(past):
            assert not len(items)
            continue
        assert set(items) == {*own.items[row][own.items[row] >= 0].tolist(), *proposed[row].tolist()}
        alone = np.where(
            np.isin(items, own.items[row]),
            llm.score([past], [items])[0],
            llm.score_by_beginnings([past], [items])[0],
        )
        np.testing.assert_allclose(found.scores[row][: len(items)], alone, atol=1e-5)
        assert (np.diff(found.scores[row][: len(items)]) <= 0).all()


def _scored(n: int, seed: int) -> tuple[dict[str, Ranked], list[np.ndarray], np.ndarray, np.ndarray]:
    """Two members that guess, and an LLM that gives the right one of what they propose a high score."""
    random = np.random.default_rng(seed)
    lists = {name: _lists([random.permutation(30)[:8].tolist() for _ in range(n)]) for name in (LLM, "guesses")}
    right = lists["guesses"].items[np.arange(n), random.integers(0, 8, n)]
    items = [np.union1d(*(lists[name].items[row] for name in lists)) for row in range(n)]
    width = max(map(len, items))
    scored = _lists([own.tolist() for own in items], random.normal(-12, 2, (n, width)).tolist())
    scored.scores[scored.items == right[:, None]] += 5
    return lists | {SCORES: scored}, [random.integers(0, 30, 4) for _ in range(n)], right, random.random((30, 2))


def test_features_of_scores_by_hand() -> None:
    lists = {"one": _lists([[4, 7], [7, 2]]), "two": _lists([[7, 1], [5]])}
    scores = _lists([[4, 1, 29], [2]], [[-6.0, -12.0, -1.0], [-30.0, 0.0, 0.0]])  # nobody proposes 29
    pasts, popularity = [np.array([1]), np.array([2])], np.ones((30, 2), dtype=np.float32)
    temperatures = {"one": 1.0, "two": 1.0}
    pool = build_pool(lists, temperatures, pasts, popularity, 5, scores)
    plain = build_pool(lists, temperatures, pasts, popularity, 5)
    assert pool.items.tolist() == plain.items.tolist() == [1, 4, 7, 2, 5, 7]
    start = 2 * len(MEMBER_FEATURES)
    own = pool.features[:, start : start + len(SCORE_FEATURES)]
    np.testing.assert_array_equal(np.delete(pool.features, range(start, start + 3), axis=1), plain.features)
    share = 1 / (1 + np.exp(-6.0))
    expected = [
        [1, 0.5, 1 + np.log(1 - share) / 24],
        [1, 0.75, 1 + np.log(share) / 24],
        [0, 0, 0],
        [1, 0, 1],  # less likely than the least, and the only one that is scored
        [0, 0, 0],
        [0, 0, 0],
    ]
    np.testing.assert_allclose(own, expected, atol=1e-6)


def test_the_gate_learns_to_believe_the_scores_and_survives_json() -> None:
    lists, pasts, right, popularity = _scored(400, 1)
    unscored = {name: ranked for name, ranked in lists.items() if name != SCORES}
    gates = []
    for own in (lists, unscored):
        gate = new_gate(own, 8)
        gates.append(gate.fitted([with_target_in_pool(gate.pool(own, pasts, popularity), right)], [right]))
    other, other_pasts, other_right, _ = _scored(400, 2)
    hits = [
        (gate.rank(gate.pool(other, other_pasts, popularity), 1)[0].items[:, 0] == other_right).mean() for gate in gates
    ]
    assert hits[0] > 2 * hits[1]
    assert "scores" not in gates[1].to_json()
    again = Gate.from_json(json.loads(json.dumps(gates[0].to_json(), sort_keys=True)))
    assert again.scored and again.weights.tolist() == gates[0].weights.tolist()


@pytest.mark.parametrize(("gone", "stays"), [(LLM, False), ("guesses", True)])
def test_scores_go_with_the_llm_alone_and_propose_nothing(gone: str, stays: bool) -> None:
    lists, pasts, _, popularity = _scored(20, 3)
    gate = new_gate(lists, 8)
    gate = Gate(gate.members, gate.temperatures, np.arange(18, dtype=float), 8, scored=True)
    left = gate.without_members([gone])
    assert left.scored is stays and len(left.weights) == len(MEMBER_FEATURES) + 3 * stays + len(ITEM_FEATURES)
    part = gate.pool(lists, pasts, popularity).only_members(gate.keeps([gone]), scores=left.scored)
    kept = {name: ranked for name, ranked in lists.items() if name in (*left.members, *([SCORES] if stays else []))}
    anew = left.pool(kept, pasts, popularity)
    assert part.items.tolist() == anew.items.tolist()
    columns = [*range(part.features.shape[1])]
    if stays:  # the logarithm within the pool is that of the whole pool
        columns.remove(len(MEMBER_FEATURES) + 2)
    np.testing.assert_allclose(part.features[:, columns], anew.features[:, columns], atol=1e-6)
