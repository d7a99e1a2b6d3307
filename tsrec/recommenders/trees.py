"""Boosted trees behind the gate: what no weighted sum can say, such as whom to trust for how long a history.

LightGBM (Ke et al. 2017) with a logistic loss, started from the gate's log-probabilities, so that the trees learn only
what the gate leaves. They never rank an item lower because a member ranks it higher (monotone constraints), and how
many there are is chosen by the likelihood of the right items of users that they have not seen: none where none help.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrec.errors import ConfigError
from tsrec.recommenders.pool import ITEM_FEATURES, MEMBER_FEATURES, Pool
from tsrec.recommenders.softmax import log_softmax

if TYPE_CHECKING:
    from lightgbm import Booster

_STEP = 25  # trees by which the number of them is chosen
_PATIENCE = 4  # steps without a gain, after which no more are tried
_CONTEXT_FEATURES = ("history_length", "members")
SETTINGS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 7,
    "min_data_in_leaf": 200,
    "lambda_l2": 5.0,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
    # `fuse_stage.fit_at_once` fits several at once, and LightGBM has one number of threads for the whole process.
    "num_threads": 1,
}


@dataclass(frozen=True)
class Trees:
    """Boosted trees over `tree_features` of a pool."""

    booster: "Booster"

    @property
    def n_trees(self) -> int:
        """How many trees there are."""
        return int(self.booster.num_trees())

    def scores(self, pool: Pool) -> np.ndarray:
        """(E,) float64: what the trees add to the gate's score of every entry."""
        return _predict(self.booster, tree_features(pool), 0, self.n_trees)

    def to_json(self, members: Sequence[str]) -> dict[str, Any]:
        """LightGBM's own text, and the share of the gain that each feature brought, for people."""
        gain = self.booster.feature_importance("gain")
        shares = zip(feature_names(members), gain / max(gain.sum(), 1e-12), strict=True)
        return {
            "n_trees": self.n_trees,
            "gain": {name: round(float(share), 4) for name, share in shares if share > 0},
            "model": self.booster.model_to_string(),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Trees":
        """Read what `to_json` wrote."""
        return cls(_lightgbm().Booster(model_str=content["model"]))


def feature_names(members: Sequence[str]) -> list[str]:
    """What the columns of `tree_features` are, for a pool of these members."""
    own = [f"{member} {feature}" for member in members for feature in MEMBER_FEATURES]
    return [*own, *ITEM_FEATURES, *_CONTEXT_FEATURES]


def tree_features(pool: Pool) -> np.ndarray:
    """(E, 5 M + 7) float32: the gate's features, log(1 + length of the history), and how many members list the item."""
    context = (np.log1p(pool.n_events)[pool.rows], (pool.ranks > 0).sum(axis=1))
    return np.concatenate([pool.features, np.stack(context, axis=1)], axis=1).astype(np.float32)


def fitted_trees(pool: Pool, starts: np.ndarray, right: np.ndarray, fold: np.ndarray | None, most: int) -> Trees | None:
    """Trees fitted to the right items; None where none help.

    Args:
        pool: entries in order of row; every row that has any holds the right item.
        starts: (E,) the gate's scores, from which the trees begin.
        right: (E,) bool: the right item of each row.
        fold: (B,) bool: the half of the users that each row belongs to; the number of trees is chosen by fitting on
            either half and reading the likelihood of the other. None: it is `most`.
        most: the most trees.
    """
    features, n_members = tree_features(pool), pool.ranks.shape[1]
    n_trees = most if fold is None else _chosen_number(features, starts, right, pool.rows, fold, n_members, most)
    if not n_trees or not right.any():
        return None
    booster = _new_booster(features, starts, right, n_members)
    _grow(booster, n_trees)
    return Trees(_lightgbm().Booster(model_str=booster.model_to_string()))  # without the rows that it was fitted on


def _chosen_number(
    features: np.ndarray,
    starts: np.ndarray,
    right: np.ndarray,
    rows: np.ndarray,
    fold: np.ndarray,
    n_members: int,
    most: int,
) -> int:
    """How many trees help users that they have not seen; the last ones that are tried brought nothing."""
    mine, step, halves = fold[rows], min(_STEP, most), []
    for learned in (mine, ~mine):
        if not right[learned].any() or not right[~learned].any():
            return 0
        halves.append((_new_booster(features[learned], starts[learned], right[learned], n_members), ~learned))
    scores, gains = starts, []
    for n_trees in range(0, most + 1, step):
        if n_trees:
            scores = scores.copy()
            for booster, unseen in halves:
                _grow(booster, step)
                scores[unseen] += _predict(booster, features[unseen], n_trees - step, step)
        gains.append(sum(log_softmax(scores[unseen], rows[unseen])[right[unseen]].sum() for _, unseen in halves))
        if len(gains) > int(np.argmax(gains)) + _PATIENCE:
            break
    return min(2 * int(np.argmax(gains)) * step, most)  # of twice the users as many more can be learned


def _new_booster(features: np.ndarray, starts: np.ndarray, right: np.ndarray, n_members: int) -> "Booster":
    """A booster that has no tree yet."""
    lightgbm = _lightgbm()
    rising = [1] * (len(MEMBER_FEATURES) * n_members)
    free = [0] * (features.shape[1] - len(rising))
    data = lightgbm.Dataset(features, right.astype(np.float32), init_score=starts)
    return lightgbm.Booster({**SETTINGS, "monotone_constraints": rising + free}, data)


def _grow(booster: "Booster", n_trees: int) -> None:
    for _ in range(n_trees):
        booster.update()


def _predict(booster: "Booster", features: np.ndarray, first: int, n_trees: int) -> np.ndarray:
    if not len(features):
        return np.zeros(0)
    scores = booster.predict(
        features, start_iteration=first, num_iteration=n_trees, raw_score=True, num_threads=SETTINGS["num_threads"]
    )
    return np.asarray(scores)


def _lightgbm() -> Any:
    """LightGBM, which takes two seconds to import, once it is needed."""
    import torch  # noqa: F401  # brings the OpenMP runtime that LightGBM asks the system for

    try:
        import lightgbm
    except OSError as error:
        raise ConfigError(
            f"LightGBM cannot be loaded ({error}); install the OpenMP runtime (libgomp1 on Debian, libomp on macOS), "
            "or fuse without trees: fuse.trees=0"
        ) from error
    return lightgbm
