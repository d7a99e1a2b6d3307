"""The reward and the advantage of each rollout of a group. Knows ranks, and nothing of models."""

import numpy as np


def rewards(is_true: np.ndarray) -> np.ndarray:
    """(U, G) float64 rewards of U groups of rollouts in order of rank; `is_true` (U, G) bool marks the next item's.

    The next item has 1; every other loses by its rank r, from 1 on, as (1 / log2(r + 1)) over the sum of that for all
    G: what stands high and is wrong costs most (MiniOneRec, 2510.24431, 3.3). A group without the next item has 0 all
    over. So a group's rewards add up to the discounted gain of the rank at which the next item stands, as a share of
    the gains of all ranks.
    """
    discounts = 1 / np.log2(np.arange(is_true.shape[1]) + 2)
    values = np.where(is_true, 1.0, -discounts / discounts.sum())
    return np.where(is_true.any(axis=1, keepdims=True), values, 0.0)


def advantages(group_rewards: np.ndarray) -> np.ndarray:
    """(U, G) rewards less their group's mean, over its standard deviation (GRPO, 2402.03300); 0 where all are alike."""
    centred = group_rewards - group_rewards.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
