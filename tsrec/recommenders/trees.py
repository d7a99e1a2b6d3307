"""Boosted trees that rerank the gate's first items. They learn what no weighted sum can express.

One example is which member to trust for which length of history. LightGBM (Ke et al. 2017) with a logistic loss starts
from the gate's log-probabilities, so that the trees learn only what the gate leaves. By monotone constraints an item
never falls because a member ranks it higher. The number of trees is chosen by cross-validation over users. It can be 0.
"""

import ctypes
import importlib.util
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrec.errors import ConfigError
from tsrec.recommenders.pool import ITEM_FEATURES, MEMBER_FEATURES, SCORE_FEATURES, Pool
from tsrec.recommenders.softmax import log_softmax

if TYPE_CHECKING:
    from lightgbm import Booster

_TREES_PER_STEP = 15  # the number of trees is chosen in steps of so many
_PATIENCE = 3  # steps without a better likelihood, after which no more are tried
_CONTEXT_FEATURES = ("history_length", "members")
SETTINGS = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 200,
    "lambda_l2": 5.0,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
    "num_threads": 1,  # more would wait for each other wherever other work keeps the cores busy
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

    def to_json(self, members: Sequence[str], *, scored: bool = False) -> dict[str, Any]:
        """The model as LightGBM writes it, and each feature's share of the gain, for people to read; arguments are
        those of `feature_names`."""
        gain = self.booster.feature_importance("gain")
        shares = zip(feature_names(members, scored=scored), gain / max(gain.sum(), 1e-12), strict=True)
        return {
            "n_trees": self.n_trees,
            "gain": {name: round(float(share), 4) for name, share in shares if share > 0},
            "model": self.booster.model_to_string(),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Trees":
        """Read what `to_json` wrote."""
        return cls(_lightgbm().Booster(model_str=content["model"]))


def feature_names(members: Sequence[str], *, scored: bool = False) -> list[str]:
    """Names of the columns of `tree_features`, for a pool of these members, with the LLM's scores or without."""
    member_features = [f"{member} {feature}" for member in members for feature in MEMBER_FEATURES]
    return [*member_features, *(SCORE_FEATURES if scored else ()), *ITEM_FEATURES, *_CONTEXT_FEATURES]


def tree_features(pool: Pool) -> np.ndarray:
    """(E, 5 M + 7) float32: the gate's features, log(1 + length of the history), and how many members list the item.

    Three columns more where the pool has the LLM's scores.
    """
    columns = {"history_length": np.log1p(pool.n_events)[pool.rows], "members": (pool.ranks > 0).sum(axis=1)}
    context = np.stack([columns[name] for name in _CONTEXT_FEATURES], axis=1)
    return np.concatenate([pool.features, context.astype(np.float32)], axis=1)


def new_booster(pool: Pool, init_scores: np.ndarray, is_target: np.ndarray) -> "Booster | None":
    """A booster without trees, for `grow_trees`; None where there is no target.

    LightGBM has its own copy of the features, in a quarter of the memory: the pool may be freed.

    Args:
        pool: entries in order of row; every row with entries has its target among them.
        init_scores: (E,) the gate's scores, which the trees add to.
        is_target: (E,) bool: the target of each row.
    """
    return _booster_of(tree_features(pool), init_scores, is_target) if is_target.any() else None


def grow_trees(booster: "Booster", n_trees: int) -> Trees:
    """The first `n_trees` trees of a `new_booster`."""
    _add_trees(booster, n_trees)
    return Trees(_lightgbm().Booster(model_str=booster.model_to_string()))  # without the rows that it was fitted on


def choose_n_trees(pool: Pool, init_scores: np.ndarray, is_target: np.ndarray, fold: np.ndarray, max_trees: int) -> int:
    """How many trees give the targets of held-out users the highest likelihood.

    Args:
        pool: as in `new_booster`, like the next two.
        init_scores: (E,).
        is_target: (E,) bool.
        fold: (B,) bool: the half of the users that each row belongs to. Trees are fitted on either half, and the
            likelihood is that of the other.
        max_trees: the most trees.
    """
    rows, features = pool.rows, tree_features(pool)
    in_first_half, step = fold[rows], min(_TREES_PER_STEP, max_trees)
    boosters = []  # each with the entries (E,) bool that it is not fitted on
    for fitted in (in_first_half, ~in_first_half):
        if not is_target[fitted].any() or not is_target[~fitted].any():
            return 0
        boosters.append((_booster_of(features[fitted], init_scores[fitted], is_target[fitted]), ~fitted))
    scores, likelihoods = init_scores, []
    for n_trees in range(0, max_trees + 1, step):
        if n_trees:
            scores = scores.copy()
            for booster, held_out in boosters:
                _add_trees(booster, step)
                scores[held_out] += _predict(booster, features[held_out], n_trees - step, step)
        likelihoods.append(
            sum(log_softmax(scores[held_out], rows[held_out])[is_target[held_out]].sum() for _, held_out in boosters)
        )
        if len(likelihoods) > int(np.argmax(likelihoods)) + _PATIENCE:
            break
    # The final trees are fitted on both halves: twice the users bear twice the trees.
    return min(2 * int(np.argmax(likelihoods)) * step, max_trees)


def _booster_of(features: np.ndarray, init_scores: np.ndarray, is_target: np.ndarray) -> "Booster":
    """A booster without trees over `tree_features`. No score falls as what a member says of an item grows."""
    lightgbm = _lightgbm()
    n_unconstrained = len(ITEM_FEATURES) + len(_CONTEXT_FEATURES)
    increasing, unconstrained = [1] * (features.shape[1] - n_unconstrained), [0] * n_unconstrained
    data = lightgbm.Dataset(features, is_target.astype(np.float32), init_score=init_scores)
    return lightgbm.Booster({**SETTINGS, "monotone_constraints": increasing + unconstrained}, data)


def _add_trees(booster: "Booster", n_trees: int) -> None:
    for _ in range(n_trees):
        booster.update()


def _predict(booster: "Booster", features: np.ndarray, first: int, n_trees: int) -> np.ndarray:
    if not len(features):
        return np.zeros(0)
    scores = booster.predict(
        features, start_iteration=first, num_iteration=n_trees, raw_score=True, num_threads=SETTINGS["num_threads"]
    )
    return np.asarray(scores)


@cache
def _lightgbm() -> Any:
    """LightGBM, imported when it is first needed. Where nobody has imported it yet, it is without its estimators: they
    need scikit-learn, which takes ten times as long to import as all else of it. Nobody here uses them; others who
    import LightGBM later get them.

    It asks the system for the OpenMP runtime. torch brings one, and importing torch for it would take 180 MB.
    """
    torch = importlib.util.find_spec("torch")
    assert torch and torch.origin
    for runtime in sorted(Path(torch.origin).parent.glob("lib/libgomp*.so*")):
        ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
    alone, no_estimators = "lightgbm" not in sys.modules, _NoScikitLearn(threading.get_ident())
    sys.meta_path.insert(0, no_estimators)
    try:
        import lightgbm
    except OSError as error:
        raise ConfigError(
            f"LightGBM cannot be loaded ({error}); install the OpenMP runtime (libgomp1 on Debian, libomp on macOS), "
            "or fuse without trees: fuse.trees=0"
        ) from error
    finally:
        sys.meta_path.remove(no_estimators)
        if alone:
            for name in [name for name in sys.modules if name.partition(".")[0] == "lightgbm"]:
                del sys.modules[name]
    return lightgbm


@dataclass(frozen=True)
class _NoScikitLearn(MetaPathFinder):
    """Lets no import of scikit-learn by one `thread` succeed; other threads may import it meanwhile."""

    thread: int

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Leave every other module to the finders behind."""
        if fullname == "sklearn" and threading.get_ident() == self.thread:
            raise ModuleNotFoundError("LightGBM is imported without its estimators", name=fullname)
