"""The gate: scores every item of a pool by a weighted sum of its features, fitted on the targets of valid.

A conditional logit (McFadden 1974): the probability of an item is the softmax of the scores within its pool. The
weights maximize the likelihood of the targets. That is convex, so the fit has one optimum, wherever it starts, and a
further member cannot make it worse. A ridge pulls the weights to `_PRIOR`, about a reciprocal-rank fusion, so that a
handful of targets cannot lead them far.

Most of that likelihood is about hundreds of items that nobody will see, and members that propose only such items make
the first ten worse. So the weights are fitted a second time, on the first 100 items of the first fit, like the stages
of a cascade (Viola and Jones 2001). Boosted trees may then rerank those 100 (`tsrec.recommenders.trees`).
`tsrec.recommenders.gate_fitting` does all that.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrec.columns import LLM
from tsrec.recommenders.pool import (
    ITEM_FEATURES,
    MEMBER_FEATURES,
    SCORE_FEATURES,
    SCORES,
    Pool,
    build_pool,
    feature_columns,
    score_temperature,
)
from tsrec.recommenders.ranking import Ranked, ranks_in_rows, top_k_lists
from tsrec.recommenders.softmax import log_softmax
from tsrec.recommenders.trees import Trees, choose_n_trees, grow_trees, new_booster

if TYPE_CHECKING:
    from lightgbm import Booster

_N_RERANKED = 100  # items of a pool, by the first fit, that the second fit and the trees see
_GRADIENT = 1e-5  # nats per unit of weight and root of a target; below it one more Newton step ends the fit
_MAX_STEPS = 200
_ROUNDING = 1e-10  # of the loss, as a share: near the optimum it hides what a step gains
_RIDGE = 1.0  # weight of the squared distance from the prior, in targets' worth of nats
_ENTRIES_AT_ONCE = 16_384  # scored in float64
_ROWS_PER_CHUNK = 16  # some thousand entries: 2 MB in float64
_PRIOR = {"listed": 0.3, "share": 1.0, "log_share": 0.5, "reciprocal_rank": 1.0, "log_rank": 0.5}


@dataclass(frozen=True)
class Gate:
    """A fusion of M members.

    `members` in the order of their features; `temperatures` of their scores; `weights` (5 M + 5,) float64 of the
    features of a pool (`tsrec.recommenders.pool`); `depth`: items of each member's list that count; `trees` rerank the
    100 items that the weights score best (None: they are not reranked). `scored`: the pools have the LLM's scores of
    what members propose, and three weights more.
    """

    members: tuple[str, ...]
    temperatures: dict[str, float]
    weights: np.ndarray
    depth: int
    trees: Trees | None = None
    scored: bool = False

    def pool(self, lists: Mapping[str, Ranked], pasts: Sequence[np.ndarray], popularity: np.ndarray) -> Pool:
        """The pool of this gate's members for B histories; `popularity` (N, 2) is that of the catalogue.

        `lists` are those of the members, and the LLM's scores (`SCORES`) where the gate weighs them.
        """
        member_lists = {name: lists[name] for name in self.members}
        scores = lists[SCORES] if self.scored else None
        return build_pool(member_lists, self.temperatures, pasts, popularity, self.depth, scores)

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
        scores = self._scores(pool) if self.trees else log_softmax(self._scores(pool), pool.rows)
        top = _top_entries(pool, scores, max(k, _N_RERANKED))
        pool, scores = pool.take_entries(top), scores[top]
        if self.trees:
            scores = _rerank_top(pool, scores, self.trees)
        order = _ranking_order(pool.rows, pool.items, scores)
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
        prior = prior_weights(len(self.members), scored=self.scored)
        loss = _Loss([chunk for pair in zip(pools, targets, strict=True) for chunk in _chunks(*pair)], prior)
        if not loss.chunks:
            return replace(self, weights=prior)
        # Newton's method, in float64 and to the optimum. Stopped short of it, the weights would depend on the order of
        # sums, and so on the number of threads.
        tolerance = _GRADIENT * np.sqrt(sum(len(chunk.target_entries) for chunk in loss.chunks))
        weights = self.weights
        value, gradient, hessian = loss.at(weights)
        for _ in range(_MAX_STEPS):
            if np.linalg.norm(gradient) < tolerance:
                break
            step = np.linalg.solve(hessian, gradient)
            while (found := loss.at(weights - step))[0] > value * (1 + _ROUNDING):
                step /= 2
            weights = weights - step
            value, gradient, hessian = found
        return replace(self, weights=weights - np.linalg.solve(hessian, gradient))

    def top_pool(self, pool: Pool, targets: np.ndarray) -> Pool:
        """The 100 entries of each history that the weights score best, of histories with their target among them.

        Args:
            pool: of this gate's members.
            targets: (B,) the target of every history.
        """
        return with_target_in_pool(pool.take_entries(self.top_entries(pool)), targets)

    def top_entries(self, pool: Pool, left_out: Container[str] = ()) -> np.ndarray:
        """The 100 entries of each history that the weights score best, as if members in `left_out` were not there.

        Where the others propose fewer than 100, entries that nobody else proposes are among them.
        """
        kept = self.keeps(left_out)
        gate = replace(self, weights=np.where(self._columns(left_out), self.weights, 0.0))
        scores = np.where((pool.ranks[:, kept] > 0).any(axis=1), gate._scores(pool), -np.inf)
        return _top_entries(pool, scores, _N_RERANKED)

    def with_trees(self, pool: Pool, targets: np.ndarray, fold: np.ndarray, max_trees: int) -> "Gate":
        """The gate with trees, or without where no number of trees helps. Call it on a fitted gate.

        Args:
            pool: a `top_pool`.
            targets: (B,) the target of every history.
            fold: (B,) bool: the half of the users that each history belongs to. The number of trees is chosen by
                cross-validation over these halves.
            max_trees: the most trees.
        """
        init_scores, is_target = log_softmax(self._scores(pool), pool.rows), pool.items == targets[pool.rows]
        n_trees = choose_n_trees(pool, init_scores, is_target, fold, max_trees)
        return self.grown(new_booster(pool, init_scores, is_target) if n_trees else None, n_trees)

    def booster(self, pool: Pool, targets: np.ndarray) -> "Booster | None":
        """What `grown` makes trees of; None without targets. Arguments are those of `with_trees`.

        It holds all that trees need: the pool may be freed before they grow.
        """
        return new_booster(pool, log_softmax(self._scores(pool), pool.rows), pool.items == targets[pool.rows])

    def grown(self, booster: "Booster | None", n_trees: int) -> "Gate":
        """The gate with the first `n_trees` trees of its own `booster`; without trees where that is None."""
        return replace(self, trees=grow_trees(booster, n_trees) if booster else None)

    def keeps(self, left_out: Container[str]) -> np.ndarray:
        """(M,) bool: which members stay where those in `left_out` go."""
        return np.array([name not in left_out for name in self.members])

    def without_members(self, left_out: Container[str]) -> "Gate":
        """The gate of the other members, with the weights that they have here and no trees; to be fitted again."""
        members = tuple(name for name in self.members if name not in left_out)
        temperatures = {name: self.temperatures[name] for name in members}
        weights = self.weights[self._columns(left_out)]
        return Gate(members, temperatures, weights, self.depth, scored=self.scored and LLM not in left_out)

    def _columns(self, left_out: Container[str]) -> np.ndarray:
        """(W,) bool: the features that are left where members in `left_out` go; the LLM's scores go with the LLM."""
        return feature_columns(self.keeps(left_out), [LLM not in left_out] if self.scored else [])

    def _scores(self, pool: Pool) -> np.ndarray:
        """(E,) float64: the weighted sum of each entry's features."""
        scores = np.empty(len(pool.rows))
        for start in range(0, len(scores), _ENTRIES_AT_ONCE):
            part = slice(start, start + _ENTRIES_AT_ONCE)
            scores[part] = pool.features[part].astype(np.float64) @ self.weights
        return scores

    def to_json(self) -> dict[str, Any]:
        """The weights by name, as `from_json` reads them; trees are saved by `Trees.to_json`."""
        width, stop = len(MEMBER_FEATURES), len(MEMBER_FEATURES) * len(self.members)
        of_scores = {"scores": dict(zip(SCORE_FEATURES, self.weights[stop:], strict=False))} if self.scored else {}
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
            **of_scores,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], trees: Trees | None = None) -> "Gate":
        """Read what `to_json` wrote; `trees` are those that were saved beside it."""
        members = {name: content["members"][name] for name in content.get("order", content["members"])}
        weights = [member["weights"][name] for member in members.values() for name in MEMBER_FEATURES]
        scored = "scores" in content
        weights += [content["scores"][name] for name in SCORE_FEATURES] if scored else []
        weights += [content["item"][name] for name in ITEM_FEATURES]
        temperatures = {name: float(member["temperature"]) for name, member in members.items()}
        return cls(tuple(members), temperatures, np.array(weights), int(content["depth"]), trees, scored)


def new_gate(lists: Mapping[str, Ranked], depth: int) -> Gate:
    """A gate over all members of `lists` with the prior's weights; temperatures are measured on these lists. It weighs
    the LLM's scores where they are among the lists (`SCORES`)."""
    temperatures = {name: score_temperature(ranked, depth) for name, ranked in lists.items() if name != SCORES}
    weights = prior_weights(len(temperatures), scored=SCORES in lists)
    return Gate(tuple(temperatures), temperatures, weights, depth, scored=SCORES in lists)


def with_target_in_pool(pool: Pool, targets: np.ndarray) -> Pool:
    """Only the histories that have their target, one of the item numbers `targets` (B,), in the pool."""
    has_target = np.zeros(pool.n_rows, dtype=bool)
    has_target[pool.rows[pool.items == targets[pool.rows]]] = True
    return pool.only_rows(has_target)


def prior_weights(n_members: int, *, scored: bool = False) -> np.ndarray:
    """(5 M + 5,) weights of a gate that is not fitted: about a reciprocal-rank fusion of M members.

    With `scored` there are three more, of the LLM's scores.
    """
    n_others = (len(SCORE_FEATURES) if scored else 0) + len(ITEM_FEATURES)
    return np.array([_PRIOR[name] for name in MEMBER_FEATURES] * n_members + [0.0] * n_others)


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

    def at(self, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """At `weights` (W,) the loss, its gradient (W,), and its Hessian (W, W).

        The Hessian is the covariance of the features within each history, summed over histories.
        """
        distance = weights - self.prior
        value, gradient = _RIDGE * float(distance @ distance), 2 * _RIDGE * distance
        hessian = 2 * _RIDGE * np.eye(len(weights))
        for chunk in self.chunks:
            features = chunk.features.astype(np.float64)
            log_probabilities = log_softmax(features @ weights, chunk.rows)
            value -= float(log_probabilities[chunk.target_entries].sum())
            weighted = features * np.exp(log_probabilities)[:, None]
            means = np.add.reduceat(weighted, chunk.row_starts)  # (R, W) of each history's features
            gradient = gradient + (means - features[chunk.target_entries]).sum(axis=0)
            hessian += features.T @ weighted - means.T @ means
        return value, gradient, hessian


def _ranking_order(rows: np.ndarray, items: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(E,) entries in order of row, the best of the `scores` (E,) first; ties go to the lower item number."""
    return np.lexsort((items, -scores, rows))


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
    place = ranks_in_rows(pool.rows)
    width = int(place.max(initial=0)) + 1
    if width <= n:
        return np.arange(len(scores))
    by_row = np.full((pool.n_rows, width), -np.inf)
    by_row[pool.rows, place] = scores
    nth_best = np.partition(by_row, width - n, axis=1)[:, width - n]
    likely = np.flatnonzero(scores >= nth_best[pool.rows])  # more than `n` of a row only where scores tie
    order = likely[_ranking_order(pool.rows[likely], pool.items[likely], scores[likely])]
    return np.sort(order[ranks_in_rows(pool.rows[order]) < n])
