"""The gate: weighs what the members know of each proposal, fitted on valid by the likelihood of the right item.

A conditional logit (McFadden 1974) over the pool of all proposals: the score of an item is a weighted sum of its
features, its probability the softmax of the scores within the pool. The negative log-likelihood is convex in the
weights, so the fit has one optimum, whatever it starts from, and more members never end lower for want of a better
start. A ridge pulls towards `_PRIOR`, about a reciprocal-rank fusion, so that a handful of targets cannot lead it far.

Most of that likelihood is about the hundreds of proposals that nobody will see, and members that only propose such make
the first ten worse. So the weights are fitted once more, on the first 100 of what they say alone, as the stages of a
cascade are (Viola and Jones 2001). Boosted trees may then order the same anew (`tsrec.recommenders.trees`).
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsrec.recommenders.pool import ITEM_FEATURES, MEMBER_FEATURES, Pool, joined_pool, pool_of, temperature
from tsrec.recommenders.ranking import Ranked, lists_of, places_of
from tsrec.recommenders.softmax import log_softmax
from tsrec.recommenders.trees import Trees, fitted_trees

_FIRST = 100  # of the gate's order that the second fit and the trees see
_GRADIENT = 1e-5  # nats a unit of weight and root of a target, below which one more Newton step ends the fit
_MOST_STEPS = 200
_RIDGE = 1.0  # weight of the squared distance from the prior, in targets' worth of nats
_ROWS_OF_A_PART = 16  # some thousand entries: 2 MB in float64
_PRIOR = {"listed": 0.3, "share": 1.0, "log_share": 0.5, "reciprocal_rank": 1.0, "log_rank": 0.5}


@dataclass(frozen=True)
class Gate:
    """`members` in order; `temperatures` of their scores; `weights` (5 M + 5,) float64, see `tsrec.recommenders.pool`;
    `depth` is how many proposals of each count. `trees` order the first 100 of what the weights say anew; None: the
    weights' order stands."""

    members: tuple[str, ...]
    temperatures: dict[str, float]
    weights: np.ndarray
    depth: int
    trees: Trees | None = None

    def pool(self, lists: Mapping[str, Ranked], pasts: Sequence[np.ndarray], popularity: np.ndarray) -> Pool:
        """What this gate's members propose for B histories; `popularity` (N, 2) is that of the catalogue."""
        mine = {name: lists[name] for name in self.members}
        return pool_of(mine, self.temperatures, pasts, popularity, self.depth)

    def rank(self, pool: Pool, k: int) -> tuple[Ranked, np.ndarray]:
        """Order a pool of this gate's members.

        An empty history gets an empty list, which whoever asks fills with what is popular: the gate was fitted on
        histories with events alone, and knows nothing of the others.

        Returns:
            lists of at most `k` items, with log-probabilities within the pool as scores (with trees: within the first
            100 of it; what stands behind is as far below the last of these as the weights say); and (B, k, M) int32:
            the rank that each member gave the item, 0 where it did not propose it.
        """
        pool = pool.of_rows(pool.n_events > 0)
        scores = self._scores(pool)
        if self.trees:
            seen = _first(pool, scores, max(k, _FIRST))
            pool = pool.of_entries(seen)
            scores = _first_anew(pool, scores[seen], self.trees)
        else:
            scores = log_softmax(scores, pool.rows)
        order = _best_first(pool, scores)
        rows, ranks = pool.rows[order], pool.ranks[order]
        fused = lists_of(rows, pool.items[order], scores[order], pool.n_rows, k)
        place = places_of(rows)
        proposed = np.zeros((pool.n_rows, k, len(self.members)), dtype=np.int32)
        proposed[rows[place < k], place[place < k]] = ranks[place < k]
        return fused, proposed

    def fitted(self, pools: Sequence[Pool], targets: Sequence[np.ndarray]) -> "Gate":
        """The gate with weights fitted on the targets that any member proposes; with none, the prior stands.

        The search starts from the weights that the gate has.

        Args:
            pools: of this gate's members, in blocks, `learnable`: every history that has entries has the right one.
            targets: of each block, the right item of every history.
        """
        from scipy.optimize import minimize  # by fitting alone, not by who recommends

        prior = prior_of(len(self.members))
        parts = [part for pool, wanted in zip(pools, targets, strict=True) for part in _parts(pool, wanted)]
        loss = _Loss(parts, prior)
        if not parts:
            return replace(self, weights=prior)
        # In float64 and to the optimum: stopped short of it, the weights would depend on the order of sums, which
        # differs with the number of threads. The last step is Newton's own, for there rounding hides what a step gains.
        n_rows = sum(len(part.right) for part in parts)
        options = {"gtol": _GRADIENT * np.sqrt(n_rows), "maxiter": _MOST_STEPS}
        fit = minimize(
            loss.value_and_gradient, self.weights, jac=True, hess=loss.hessian, method="trust-exact", options=options
        )
        return replace(self, weights=fit.x - np.linalg.solve(fit.hess, fit.jac))

    def focused(self, pools: Sequence[Pool], targets: Sequence[np.ndarray]) -> "Gate":
        """The same gate, its weights fitted once more on the first 100 of what they say; to be fitted first.

        Arguments are those of `fitted`. Where no pool has more than 100 entries this is `fitted` again.
        """
        return self.fitted(self._firsts(pools, targets), targets)

    def with_trees(
        self, pools: Sequence[Pool], targets: Sequence[np.ndarray], folds: Sequence[np.ndarray] | None, most: int
    ) -> "Gate":
        """The same gate with trees, where any help; to be fitted first.

        Args:
            pools: of this gate's members, in blocks.
            targets: of each block, the right item of every history.
            folds: of each block, (B,) bool: the half of the users that each history belongs to, by which the number of
                trees is chosen; None: it is `most`.
            most: the most trees.
        """
        if not pools:
            return self
        pool = joined_pool(self._firsts(pools, targets))
        starts = log_softmax(self._scores(pool), pool.rows)
        right = pool.items == np.concatenate(targets)[pool.rows]
        fold = None if folds is None else np.concatenate(folds)
        return replace(self, trees=fitted_trees(pool, starts, right, fold, most))

    def without(self, gone: Container[str]) -> "Gate":
        """The gate of the other members, with the weights they have here and no trees; to be fitted anew."""
        kept = [name not in gone for name in self.members]
        columns = np.append(np.repeat(kept, len(MEMBER_FEATURES)), [True] * len(ITEM_FEATURES))
        members = tuple(name for name in self.members if name not in gone)
        temperatures = {name: self.temperatures[name] for name in members}
        return Gate(members, temperatures, self.weights[columns], self.depth)

    def _firsts(self, pools: Sequence[Pool], targets: Sequence[np.ndarray]) -> list[Pool]:
        """The first 100 of each history, where the right item is among them."""
        firsts = (pool.of_entries(_first(pool, self._scores(pool), _FIRST)) for pool in pools)
        return [learnable(first, wanted) for first, wanted in zip(firsts, targets, strict=True)]

    def _scores(self, pool: Pool) -> np.ndarray:
        """(E,) float64: the weighted sums."""
        return pool.features.astype(np.float64) @ self.weights

    def to_json(self) -> dict[str, Any]:
        """Weights by name, for people and for `from_json`; without the trees."""
        width = len(MEMBER_FEATURES)
        return {
            "depth": self.depth,
            "order": list(self.members),  # of the trees' features; files sort what they name
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
        """Read what `to_json` wrote, and join its trees."""
        members = {name: content["members"][name] for name in content.get("order", content["members"])}
        weights = [member["weights"][name] for member in members.values() for name in MEMBER_FEATURES]
        weights += [content["item"][name] for name in ITEM_FEATURES]
        temperatures = {name: float(member["temperature"]) for name, member in members.items()}
        return cls(tuple(members), temperatures, np.array(weights), int(content["depth"]), trees)


def new_gate(lists: Mapping[str, Ranked], depth: int) -> Gate:
    """A gate over all members of `lists`, not fitted yet; the temperatures are those of the lists given."""
    temperatures = {name: temperature(ranked, depth) for name, ranked in lists.items()}
    return Gate(tuple(lists), temperatures, prior_of(len(lists)), depth)


def learnable(pool: Pool, targets: np.ndarray) -> Pool:
    """Only the histories whose pool holds the right item; `targets` is (B,)."""
    found = np.zeros(pool.n_rows, dtype=bool)
    found[pool.rows[pool.items == targets[pool.rows]]] = True
    return pool.of_rows(found)


def prior_of(n_members: int) -> np.ndarray:
    """(5 M + 5,) weights that need no fitting: about a reciprocal-rank fusion of all members."""
    return np.array([_PRIOR[name] for name in MEMBER_FEATURES] * n_members + [0.0] * len(ITEM_FEATURES))


@dataclass(frozen=True)
class _Part:
    """Entries of rows that hold their right item: `features` (E, W) float32, `rows` (E,) in order, `starts` of the rows
    among the entries, `right` the entry of each row's right item."""

    features: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    right: np.ndarray

    def log_chances(self, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(E,) float64: the log-probability of every entry within its row."""
        return log_softmax(features @ weights, self.rows)


def _parts(pool: Pool, targets: np.ndarray) -> Iterator[_Part]:
    """A pool in parts of a few rows; every row that has entries holds its right item, `targets` (B,)."""
    starts = np.flatnonzero(np.diff(pool.rows, prepend=-1))
    right = np.flatnonzero(pool.items == targets[pool.rows])
    for first in range(0, len(starts), _ROWS_OF_A_PART):
        some = slice(first, first + _ROWS_OF_A_PART)
        begin, end = starts[first], np.append(starts, len(pool.rows))[min(some.stop, len(starts))]
        yield _Part(pool.features[begin:end], pool.rows[begin:end], starts[some] - begin, right[some] - begin)


@dataclass(frozen=True)
class _Loss:
    """The negative log-likelihood of the right items, summed over all rows, and the ridge; a part at a time is in
    float64, and stays in the processor's cache."""

    parts: list[_Part]
    prior: np.ndarray

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        away = weights - self.prior
        value, gradient = _RIDGE * float(away @ away), 2 * _RIDGE * away
        for part in self.parts:
            features = part.features.astype(np.float64)
            chances = part.log_chances(features, weights)
            value -= float(chances[part.right].sum())
            chances = np.exp(chances)
            chances[part.right] -= 1
            gradient = gradient + chances @ features
        return value, gradient

    def hessian(self, weights: np.ndarray) -> np.ndarray:
        """(W, W): the features' covariances within the rows, summed."""
        total = 2 * _RIDGE * np.eye(len(weights))
        for part in self.parts:
            features = part.features.astype(np.float64)
            weighted = features * np.exp(part.log_chances(features, weights))[:, None]
            means = np.add.reduceat(weighted, part.starts)
            total += features.T @ weighted - means.T @ means
        return total


def _best_first(pool: Pool, scores: np.ndarray) -> np.ndarray:
    """(E,) the entries row by row, the best score first; ties go to the lower item number."""
    return np.lexsort((pool.items, -scores, pool.rows))


def _first_anew(pool: Pool, scores: np.ndarray, trees: Trees) -> np.ndarray:
    """(E,) scores by which trees order the first 100 of each row, however long the lists are to be. The others stand
    behind those, in the order of their own `scores` (E,)."""
    first = _first(pool, scores, _FIRST)
    head = pool.of_entries(first)
    chances = log_softmax(scores[first] + trees.scores(head), head.rows)
    last, least = np.full(pool.n_rows, np.inf), np.full(pool.n_rows, np.inf)
    np.minimum.at(last, head.rows, chances)
    np.minimum.at(least, head.rows, scores[first])
    anew = last[pool.rows] + (scores - least[pool.rows])
    anew[first] = chances
    return anew


def _first(pool: Pool, scores: np.ndarray, n: int) -> np.ndarray:
    """The entries of the `n` best scores of each row, in order of row and item."""
    order = _best_first(pool, scores)
    return np.sort(order[places_of(pool.rows[order]) < n])
