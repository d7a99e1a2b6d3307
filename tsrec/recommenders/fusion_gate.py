"""The gate: scores every item of a pool by a weighted sum of its features, fitted on the targets of valid.

A conditional logit (McFadden 1974): the probability of an item is the softmax of the scores within its pool. The
weights maximize the likelihood of the targets. That is convex, so the fit has one optimum, wherever it starts, and a
further member cannot make it worse. A ridge pulls the weights to `_PRIOR`, about a reciprocal-rank fusion, so that a
handful of targets cannot lead them far.

Most of that likelihood is about hundreds of items that nobody will see, and members that propose only such items make
the first ten worse. So the weights are fitted a second time, on the first 100 items of the first fit, like the stages
of a cascade (Viola and Jones 2001). Boosted trees may then rerank those 100 (`tsrec.recommenders.trees`).
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsrec.recommenders.pool import (
    ITEM_FEATURES,
    MEMBER_FEATURES,
    Pool,
    build_pool,
    concatenate_pools,
    score_temperature,
)
from tsrec.recommenders.ranking import Ranked, ranks_in_rows, top_k_lists
from tsrec.recommenders.softmax import log_softmax
from tsrec.recommenders.trees import Trees, fit_trees

_N_RERANKED = 100  # items of a pool, by the first fit, that the second fit and the trees see
_GRADIENT = 1e-5  # nats per unit of weight and root of a target; below it one more Newton step ends the fit
_MAX_STEPS = 200
_RIDGE = 1.0  # weight of the squared distance from the prior, in targets' worth of nats
_ROWS_PER_CHUNK = 16  # some thousand entries: 2 MB in float64
_PRIOR = {"listed": 0.3, "share": 1.0, "log_share": 0.5, "reciprocal_rank": 1.0, "log_rank": 0.5}


@dataclass(frozen=True)
class Gate:
    """A fusion of M members.

    `members` in the order of their features; `temperatures` of their scores; `weights` (5 M + 5,) float64 of the
    features of a pool (`tsrec.recommenders.pool`); `depth`: items of each member's list that count; `trees` rerank the
    100 items that the weights score best (None: they are not reranked).
    """

    members: tuple[str, ...]
    temperatures: dict[str, float]
    weights: np.ndarray
    depth: int
    trees: Trees | None = None

    def pool(self, lists: Mapping[str, Ranked], pasts: Sequence[np.ndarray], popularity: np.ndarray) -> Pool:
        """The pool of this gate's members for B histories; `popularity` (N, 2) is that of the catalogue."""
        member_lists = {name: lists[name] for name in self.members}
        return build_pool(member_lists, self.temperatures, pasts, popularity, self.depth)

    def rank(self, pool: Pool, k: int) -> tuple[Ranked, np.ndarray]:
        """Rank the items of a pool of this gate's members.

        An empty history gets an empty list, which the caller fills with popular items: the gate was fitted on histories
        with events alone.

        Returns:
            lists of at most `k` items. Scores are log-probabilities within the pool; with trees, within the 100 items
            that are reranked, and later items lie below the last of these by the difference of their weighted sums.
            And (B, k, M) int32: the rank that each member gave the item, 0 where it did not propose it.
        """
        pool = pool.only_rows(pool.n_events > 0)
        scores = self._scores(pool)
        if self.trees:
            top = _top_entries(pool, scores, max(k, _N_RERANKED))
            pool = pool.take_entries(top)
            scores = _rerank_top(pool, scores[top], self.trees)
        else:
            scores = log_softmax(scores, pool.rows)
        order = _ranking_order(pool, scores)
        rows, ranks = pool.rows[order], pool.ranks[order]
        fused = top_k_lists(rows, pool.items[order], scores[order], pool.n_rows, k)
        place = ranks_in_rows(rows)
        is_shown = place < k
        member_ranks = np.zeros((pool.n_rows, k, len(self.members)), dtype=np.int32)
        member_ranks[rows[is_shown], place[is_shown]] = ranks[is_shown]
        return fused, member_ranks

    def fitted(self, pools: Sequence[Pool], targets: Sequence[np.ndarray]) -> "Gate":
        """The gate with weights fitted on the targets, starting from its own; without entries it gets the prior.

        Args:
            pools: of this gate's members, in blocks; every history with entries has its target among them (see
                `with_target_in_pool`).
            targets: of each block, the target of every history.
        """
        from scipy.optimize import minimize  # needed to fit, not to recommend

        prior = prior_weights(len(self.members))
        chunks = [chunk for pool, items in zip(pools, targets, strict=True) for chunk in _chunks(pool, items)]
        loss = _Loss(chunks, prior)
        if not chunks:
            return replace(self, weights=prior)
        # In float64 and to the optimum. Stopped short of it, the weights would depend on the order of sums, and so on
        # the number of threads. The last step is a plain Newton step: rounding hides how much it gains.
        n_rows = sum(len(chunk.target_entries) for chunk in chunks)
        options = {"gtol": _GRADIENT * np.sqrt(n_rows), "maxiter": _MAX_STEPS}
        fit = minimize(
            loss.value_and_gradient, self.weights, jac=True, hess=loss.hessian, method="trust-exact", options=options
        )
        return replace(self, weights=fit.x - np.linalg.solve(fit.hess, fit.jac))

    def refitted_on_top(self, pools: Sequence[Pool], targets: Sequence[np.ndarray]) -> "Gate":
        """The gate with weights fitted again, on the 100 items of each history that its weights score best.

        Call it on a fitted gate. Arguments are those of `fitted`; the result is the same where no history has more than
        100 entries.
        """
        return self.fitted(self._top_pools(pools, targets), targets)

    def with_trees(
        self, pools: Sequence[Pool], targets: Sequence[np.ndarray], folds: Sequence[np.ndarray] | None, max_trees: int
    ) -> "Gate":
        """The gate with trees, or without where no number of trees helps. Call it on a fitted gate.

        Args:
            pools: of this gate's members, in blocks.
            targets: of each block, the target of every history.
            folds: of each block, (B,) bool: the half of the users that each history belongs to. The number of trees is
                chosen by cross-validation over these halves; None: it is `max_trees`.
            max_trees: the most trees.
        """
        if not pools:
            return self
        pool = concatenate_pools(self._top_pools(pools, targets))
        init_scores = log_softmax(self._scores(pool), pool.rows)
        is_target = pool.items == np.concatenate(targets)[pool.rows]
        fold = None if folds is None else np.concatenate(folds)
        return replace(self, trees=fit_trees(pool, init_scores, is_target, fold, max_trees))

    def without_members(self, left_out: Container[str]) -> "Gate":
        """The gate of the other members, with the weights that they have here and no trees; to be fitted again."""
        kept = [name not in left_out for name in self.members]
        columns = np.append(np.repeat(kept, len(MEMBER_FEATURES)), [True] * len(ITEM_FEATURES))
        members = tuple(name for name in self.members if name not in left_out)
        temperatures = {name: self.temperatures[name] for name in members}
        return Gate(members, temperatures, self.weights[columns], self.depth)

    def _top_pools(self, pools: Sequence[Pool], targets: Sequence[np.ndarray]) -> list[Pool]:
        """The best 100 entries of each history that has its target among them."""
        tops = (pool.take_entries(_top_entries(pool, self._scores(pool), _N_RERANKED)) for pool in pools)
        return [with_target_in_pool(top, items) for top, items in zip(tops, targets, strict=True)]

    def _scores(self, pool: Pool) -> np.ndarray:
        """(E,) float64: the weighted sum of each entry's features."""
        return pool.features.astype(np.float64) @ self.weights

    def to_json(self) -> dict[str, Any]:
        """The weights by name, as `from_json` reads them; trees are saved by `Trees.to_json`."""
        width = len(MEMBER_FEATURES)
        return {
            "depth": self.depth,
            "order": list(self.members),  # of the trees' features: JSON files sort their keys
            "members": {
                name: {
                    "temperature": self.temperatures[name],
                    "weights": dict(zip(MEMBER_FEATURES, self.weights[n * width : (n + 1) * width], strict=True)),
                }
                for n, name in enumerate(self.members)
            },
            "item": dict(zip(ITEM_FEATURES, self.weights[-len(ITEM_FEATURES) :], strict=True)),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], trees: Trees | None = None) -> "Gate":
        """Read what `to_json` wrote; `trees` are those that were saved beside it."""
        members = {name: content["members"][name] for name in content.get("order", content["members"])}
        weights = [member["weights"][name] for member in members.values() for name in MEMBER_FEATURES]
        weights += [content["item"][name] for name in ITEM_FEATURES]
        temperatures = {name: float(member["temperature"]) for name, member in members.items()}
        return cls(tuple(members), temperatures, np.array(weights), int(content["depth"]), trees)


def new_gate(lists: Mapping[str, Ranked], depth: int) -> Gate:
    """A gate over all members of `lists` with the prior's weights; temperatures are measured on these lists."""
    temperatures = {name: score_temperature(ranked, depth) for name, ranked in lists.items()}
    return Gate(tuple(lists), temperatures, prior_weights(len(lists)), depth)


def with_target_in_pool(pool: Pool, targets: np.ndarray) -> Pool:
    """Only the histories that have their target, one of the item numbers `targets` (B,), in the pool."""
    has_target = np.zeros(pool.n_rows, dtype=bool)
    has_target[pool.rows[pool.items == targets[pool.rows]]] = True
    return pool.only_rows(has_target)


def prior_weights(n_members: int) -> np.ndarray:
    """(5 M + 5,) weights of a gate that is not fitted: about a reciprocal-rank fusion of M members."""
    return np.array([_PRIOR[name] for name in MEMBER_FEATURES] * n_members + [0.0] * len(ITEM_FEATURES))


@dataclass(frozen=True)
class _Chunk:
    """The E entries of a few histories, each with its target among them.

    `features` (E, W) float32; `rows` (E,) in order; `row_starts` (R,): the first entry of each of R histories;
    `target_entries` (R,): the entry of each history's target.
    """

    features: np.ndarray
    rows: np.ndarray
    row_starts: np.ndarray
    target_entries: np.ndarray

    def log_probabilities(self, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(E,) float64: the log-probability of every entry within its history."""
        return log_softmax(features @ weights, self.rows)


def _chunks(pool: Pool, targets: np.ndarray) -> Iterator[_Chunk]:
    """A pool in chunks of a few histories; every history with entries has its target, of `targets` (B,), among them."""
    row_starts = np.flatnonzero(np.diff(pool.rows, prepend=-1))
    target_entries = np.flatnonzero(pool.items == targets[pool.rows])
    for first in range(0, len(row_starts), _ROWS_PER_CHUNK):
        rows = slice(first, first + _ROWS_PER_CHUNK)
        start = row_starts[first]
        stop = np.append(row_starts, len(pool.rows))[min(rows.stop, len(row_starts))]
        yield _Chunk(
            pool.features[start:stop], pool.rows[start:stop], row_starts[rows] - start, target_entries[rows] - start
        )


@dataclass(frozen=True)
class _Loss:
    """The negative log-likelihood of the targets, summed over all histories, plus the ridge.

    One chunk at a time is in float64, small enough for the processor's cache.
    """

    chunks: list[_Chunk]
    prior: np.ndarray

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss, and its gradient (W,), at `weights` (W,)."""
        distance = weights - self.prior
        value, gradient = _RIDGE * float(distance @ distance), 2 * _RIDGE * distance
        for chunk in self.chunks:
            features = chunk.features.astype(np.float64)
            log_probabilities = chunk.log_probabilities(features, weights)
            value -= float(log_probabilities[chunk.target_entries].sum())
            residuals = np.exp(log_probabilities)  # (E,) probability, minus 1 for the target
            residuals[chunk.target_entries] -= 1
            gradient = gradient + residuals @ features
        return value, gradient

    def hessian(self, weights: np.ndarray) -> np.ndarray:
        """(W, W) at `weights` (W,): covariances of the features within each history, summed over histories."""
        total = 2 * _RIDGE * np.eye(len(weights))
        for chunk in self.chunks:
            features = chunk.features.astype(np.float64)
            weighted = features * np.exp(chunk.log_probabilities(features, weights))[:, None]
            means = np.add.reduceat(weighted, chunk.row_starts)
            total += features.T @ weighted - means.T @ means
        return total


def _ranking_order(pool: Pool, scores: np.ndarray) -> np.ndarray:
    """(E,) entries in order of row, the best of the `scores` (E,) first; ties go to the lower item number."""
    return np.lexsort((pool.items, -scores, pool.rows))


def _rerank_top(pool: Pool, scores: np.ndarray, trees: Trees) -> np.ndarray:
    """(E,) new scores: trees rerank the 100 entries of each row with the best `scores` (E,).

    All other entries stay behind those, in the order of their `scores`.
    """
    top = _top_entries(pool, scores, _N_RERANKED)
    top_pool = pool.take_entries(top)
    reranked = log_softmax(scores[top] + trees.scores(top_pool), top_pool.rows)
    # For each row, the lowest score of its top entries, after and before reranking.
    lowest_reranked, lowest_score = np.full(pool.n_rows, np.inf), np.full(pool.n_rows, np.inf)
    np.minimum.at(lowest_reranked, top_pool.rows, reranked)
    np.minimum.at(lowest_score, top_pool.rows, scores[top])
    new_scores = lowest_reranked[pool.rows] + (scores - lowest_score[pool.rows])
    new_scores[top] = reranked
    return new_scores


def _top_entries(pool: Pool, scores: np.ndarray, n: int) -> np.ndarray:
    """The entries of the `n` best scores of each row, in order of row and item."""
    order = _ranking_order(pool, scores)
    return np.sort(order[ranks_in_rows(pool.rows[order]) < n])
