"""The gate: weighs what the members know of each proposal, fitted on valid by the likelihood of the right item.

A conditional logit (McFadden 1974) over the pool of all proposals: the score of an item is a weighted sum of its
features, its probability the softmax of the scores within the pool. The negative log-likelihood is convex in the
weights, so the fit has one optimum, whatever it starts from, and more members never end lower for want of a better
start. A ridge pulls towards `_PRIOR`, about a reciprocal-rank fusion, so that a handful of targets cannot lead it far.
Boosted trees may then order the first of it anew (`tsrec.recommenders.trees`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from tsrec.recommenders.pool import ITEM_FEATURES, MEMBER_FEATURES, Pool, joined_pool, pool_of, temperature
from tsrec.recommenders.ranking import Ranked, lists_of, places_of
from tsrec.recommenders.softmax import log_softmax
from tsrec.recommenders.trees import Trees, fitted_trees

_FIRST = 100  # of the gate's order that the trees see
_PRIOR = {"listed": 0.3, "share": 1.0, "log_share": 0.5, "reciprocal_rank": 1.0, "log_rank": 0.5}


@dataclass(frozen=True)
class Gate:
    """`members` in order; `temperatures` of their scores; `weights` (5 M + 4,) float64, see `tsrec.recommenders.pool`;
    the first `depth` proposals of each count. `trees` order the first 100 of what the weights say anew; None: the
    weights' order stands."""

    members: tuple[str, ...]
    temperatures: dict[str, float]
    weights: np.ndarray
    depth: int
    trees: Trees | None = None

    def pool(self, lists: Mapping[str, Ranked], pasts: Sequence[np.ndarray], trained: np.ndarray) -> Pool:
        """What this gate's members propose for B histories; `trained` are the train events of every item."""
        mine = {name: lists[name] for name in self.members}
        return pool_of(mine, self.temperatures, pasts, trained, self.depth)

    def rank(self, pool: Pool, k: int) -> tuple[Ranked, np.ndarray]:
        """Order a pool of this gate's members.

        Returns:
            lists of at most `k` items, with log-probabilities within the pool as scores (with trees: within the first
            100 of it, or `k`); and (B, k, M) int32: the rank that each member gave the item, 0 where it did not propose
            it.
        """
        scores = self._scores(pool)
        if self.trees:
            first = _first(pool, scores, max(k, _FIRST))
            pool, scores = pool.of_entries(first), scores[first]
            scores = scores + self.trees.scores(pool)
        scores = log_softmax(scores, pool.rows)
        order = _best_first(pool, scores)
        rows, ranks = pool.rows[order], pool.ranks[order]
        fused = lists_of(rows, pool.items[order], scores[order], pool.n_rows, k)
        place = places_of(rows)
        proposed = np.zeros((pool.n_rows, k, len(self.members)), dtype=np.int32)
        proposed[rows[place < k], place[place < k]] = ranks[place < k]
        return fused, proposed

    def fitted(self, pools: Sequence[Pool], targets: Sequence[np.ndarray], ridge: float) -> "Gate":
        """The gate with weights fitted on the targets that any member proposes; with none, the prior stands.

        Args:
            pools: of this gate's members, in blocks.
            targets: of each block, the right item of every history.
            ridge: weight of the squared distance from the prior, against the sum of log-likelihoods.
        """
        known = [learnable(pool, wanted) for pool, wanted in zip(pools, targets, strict=True)]
        prior = prior_of(len(self.members))
        if not any(len(pool.rows) for pool in known):
            return replace(self, weights=prior)
        pool = joined_pool(known)
        starts = np.flatnonzero(np.diff(pool.rows, prepend=-1))
        right = np.flatnonzero(pool.items == np.concatenate(targets)[pool.rows])
        fixed = (pool.features, starts, right, prior, ridge)
        return replace(self, weights=minimize(_negative_log_likelihood, prior, fixed, jac=True, method="L-BFGS-B").x)

    def with_trees(
        self, pools: Sequence[Pool], targets: Sequence[np.ndarray], folds: Sequence[np.ndarray], most: int
    ) -> "Gate":
        """The same gate with trees, where any help; to be fitted first.

        Args:
            pools: of this gate's members, in blocks.
            targets: of each block, the right item of every history.
            folds: of each block, (B,) bool: the half of the users that each history belongs to.
            most: the most trees.
        """
        if not pools:
            return self
        firsts = [pool.of_entries(_first(pool, self._scores(pool), _FIRST)) for pool in pools]
        pool = joined_pool([learnable(first, wanted) for first, wanted in zip(firsts, targets, strict=True)])
        starts = log_softmax(self._scores(pool), pool.rows)
        right = pool.items == np.concatenate(targets)[pool.rows]
        return replace(self, trees=fitted_trees(pool, starts, right, np.concatenate(folds), most))

    def _scores(self, pool: Pool) -> np.ndarray:
        """(E,) float64: the weighted sums."""
        return (pool.features @ self.weights.astype(np.float32)).astype(np.float64)

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
    """(5 M + 4,) weights that need no fitting: about a reciprocal-rank fusion of all members."""
    return np.array([_PRIOR[name] for name in MEMBER_FEATURES] * n_members + [0.0] * len(ITEM_FEATURES))


def _negative_log_likelihood(
    weights: np.ndarray,
    features: np.ndarray,
    starts: np.ndarray,
    right: np.ndarray,
    prior: np.ndarray,
    ridge: float,
) -> tuple[float, np.ndarray]:
    """Value and gradient, summed over the rows; each row's entries lie together, from `starts` on."""
    scores = (features @ weights.astype(np.float32)).astype(np.float64)
    lengths = np.diff(np.append(starts, len(scores)))
    shifted = scores - np.repeat(np.maximum.reduceat(scores, starts), lengths)
    chances = np.exp(shifted)
    totals = np.add.reduceat(chances, starts)
    chances /= np.repeat(totals, lengths)
    away = weights - prior
    value = np.log(totals).sum() - shifted[right].sum() + ridge * (away @ away)
    chances[right] -= 1
    gradient = (chances.astype(np.float32) @ features).astype(np.float64) + 2 * ridge * away
    return float(value), gradient


def _best_first(pool: Pool, scores: np.ndarray) -> np.ndarray:
    """(E,) the entries row by row, the best score first; ties go to the lower item number."""
    return np.lexsort((pool.items, -scores, pool.rows))


def _first(pool: Pool, scores: np.ndarray, n: int) -> np.ndarray:
    """The entries of the `n` best scores of each row, in order of row and item."""
    order = _best_first(pool, scores)
    return np.sort(order[places_of(pool.rows[order]) < n])
