"""What trees add to a gate: what no weighted sum can say, and nothing that contradicts a member."""

from dataclasses import replace

import numpy as np
import pytest

from tsrec.recommenders.fusion_gate import Gate, new_gate, with_target_in_pool
from tsrec.recommenders.pool import MEMBER_FEATURES, Pool
from tsrec.recommenders.ranking import Ranked
from tsrec.recommenders.softmax import log_softmax
from tsrec.recommenders.trees import Trees, feature_names, tree_features

N = 40
LENGTH = 12


class Simulated:
    """Two members; the first knows the next item of long histories, the second that of short ones."""

    def __init__(self, n: int, seed: int, *, by_length: bool = True) -> None:
        random = np.random.default_rng(seed)
        chance = np.exp(-np.arange(LENGTH) / 2)
        place = random.choice(LENGTH, n, p=chance / chance.sum())
        scores = np.tile(np.linspace(3, 0, LENGTH).astype(np.float32), (n, 1))
        items = [np.argsort(random.random((n, N)), axis=1)[:, :LENGTH].astype(np.int32) for _ in range(2)]
        lengths = random.choice([2, 20], n)
        knows = np.where(lengths > 10, 0, 1) if by_length else np.zeros(n, dtype=int)
        self.right = np.stack(items)[knows, np.arange(n), place].astype(np.int64)
        self.lists = {name: Ranked(own, scores) for name, own in zip("ba", items, strict=True)}
        self.pasts = [random.integers(0, N, length) for length in lengths]
        self.popularity = np.full((N, 2), 0.5)
        self.fold = random.random(n) < 0.5

    def pool(self, gate: Gate) -> Pool:
        return gate.pool(self.lists, self.pasts, self.popularity)

    def fitted(self, most: int = 200) -> Gate:
        gate = new_gate(self.lists, depth=LENGTH)
        pool = with_target_in_pool(self.pool(gate), self.right)
        gate = gate.fitted([pool], [self.right])
        return gate.with_trees(gate.top_pool(pool, self.right), self.right, self.fold, most)

    def hit_rate(self, gate: Gate) -> float:
        return float((gate.rank(self.pool(gate), 1)[0].items[:, 0] == self.right).mean())


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Simulated(1500, seed=1).fitted()


def test_trees_say_what_no_weighted_sum_can(gate: Gate) -> None:
    other = Simulated(1500, seed=2)
    assert gate.trees is not None
    assert other.hit_rate(gate) > 1.15 * other.hit_rate(replace(gate, trees=None))


def test_they_cost_nothing_where_the_weights_have_said_all() -> None:
    gate, other = Simulated(400, seed=3, by_length=False).fitted(), Simulated(3000, seed=10, by_length=False)
    assert other.hit_rate(gate) > other.hit_rate(replace(gate, trees=None)) - 0.01


def test_there_are_none_without_targets_on_both_sides_or_in_the_pool() -> None:
    few = Simulated(30, seed=4)
    few.fold[:] = True
    assert few.fitted().trees is None
    few.right[:] = N + 1
    assert few.fitted().trees is None


def test_an_item_that_a_member_ranks_higher_is_never_scored_lower(gate: Gate) -> None:
    assert gate.trees is not None
    pool = Simulated(50, seed=5).pool(gate)
    random = np.random.default_rng(0)
    before = gate.trees.scores(pool)
    raised = pool.features.copy()
    for column in range(2 * len(MEMBER_FEATURES)):
        raised[:, column] += random.exponential(0.3, len(raised)).astype(np.float32)
        after = gate.trees.scores(replace(pool, features=raised))
        assert (after >= before - 1e-12).all()
        before = after


def test_lists_are_the_gates_first_in_the_order_of_both_scores(gate: Gate) -> None:
    """Held to a plain loop over histories."""
    simulated = Simulated(40, seed=6)
    assert gate.trees is not None
    pool = simulated.pool(gate)
    ranked, ranks = gate.rank(pool, 5)
    weighed = pool.features @ gate.weights.astype(np.float32)
    total = log_softmax(weighed.astype(np.float64) + gate.trees.scores(pool), pool.rows)
    for row in range(40):
        mine = np.flatnonzero(pool.rows == row)
        order = mine[np.argsort(-total[mine], kind="stable")][:5]
        assert ranked.items[row].tolist() == pool.items[order].tolist()
        np.testing.assert_allclose(ranked.scores[row], total[order], rtol=1e-5)
        assert ranks[row].tolist() == pool.ranks[order].tolist()


def test_what_the_weights_put_behind_the_first_stays_out(gate: Gate) -> None:
    """The trees have seen nothing of it. A longer list begins as a short one and goes on as the weights say."""
    random = np.random.default_rng(7)
    items = np.argsort(random.random((3, 400)), axis=1)[:, :300].astype(np.int32)
    lists = {name: Ranked(items, np.tile(np.linspace(9, 0, 300, dtype=np.float32), (3, 1))) for name in "ab"}
    wide = replace(gate, depth=300)
    pool = wide.pool(lists, [np.array([1])] * 3, np.zeros((400, 2)))
    short, _ = wide.rank(pool, 100)
    plain, _ = replace(wide, trees=None).rank(pool, 100)
    assert [set(row) for row in short.items.tolist()] == [set(row) for row in plain.items.tolist()]
    long, _ = wide.rank(pool, 250)
    assert (long.items >= 0).all() and (np.diff(long.scores, axis=1) <= 0).all()
    assert [part[:, :100].tolist() for part in long] == [part.tolist() for part in short]
    assert long.items[:, 100:].tolist() == replace(wide, trees=None).rank(pool, 250)[0].items[:, 100:].tolist()


def test_trees_survive_json(gate: Gate) -> None:
    assert gate.trees is not None
    content = gate.trees.to_json(gate.members)
    again = Trees.from_json(content)
    pool = Simulated(20, seed=8).pool(gate)
    assert again.scores(pool).tolist() == gate.trees.scores(pool).tolist()
    assert again.n_trees == gate.trees.n_trees == content["n_trees"] <= 200
    assert set(content["gain"]) <= set(feature_names(gate.members))
    assert sum(content["gain"].values()) == pytest.approx(1, abs=0.01)
    assert "history_length" in content["gain"]


def test_features_tell_how_long_a_history_is_and_how_many_members_agree() -> None:
    simulated = Simulated(6, seed=9)
    gate = new_gate(simulated.lists, LENGTH)
    pool = simulated.pool(gate)
    features = tree_features(pool)
    assert features.shape[1] == len(feature_names(gate.members))
    assert features[:, :-2].tolist() == pool.features.tolist()
    for row, length, members, ranks in zip(pool.rows, features[:, -2], features[:, -1], pool.ranks, strict=True):
        assert length == pytest.approx(np.log1p(len(simulated.pasts[row])))
        assert members == sum(rank > 0 for rank in ranks)


def test_the_same_targets_give_the_same_trees(gate: Gate) -> None:
    again = Simulated(1500, seed=1).fitted()
    assert again.trees is not None and gate.trees is not None
    assert again.trees.to_json(again.members) == gate.trees.to_json(gate.members)


@pytest.mark.parametrize("most", [1, 10, 60])
def test_never_more_than_asked_for(most: int) -> None:
    fitted = Simulated(1500, seed=1).fitted(most)
    assert fitted.trees is not None and fitted.trees.n_trees <= most
