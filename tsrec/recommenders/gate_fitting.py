"""Fits the gates of the fuse stage, from members' lists that are read block by block.

There are three kinds: the whole one, fitted on all targets; one for each half of the users, fitted on the other half;
and one for each member, or group of members, that does without it. Every pool is built once and left when the gates
have taken their first 100 from it, so that memory does not grow with the number of users.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsrec.columns import Split
from tsrec.machine.progress import progress
from tsrec.recommenders.candidates import StoredLists
from tsrec.recommenders.fusion_gate import Gate, new_gate, with_target_in_pool
from tsrec.recommenders.pool import Pool, concatenate_pools
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import SEED, Targets, sample_events

_Block = tuple[np.ndarray, Pool]
"""Rows of the targets that gates are fitted on, and the pool of those that have their item in it."""

MAX_TARGETS = 10_000
"""Targets that gates are fitted on, at most; they are drawn at random."""
_FIRST_FIT_VALUES = 100_000_000  # of features in the pools that the first fit sees: 400 MB
_BLOCK = 512


@dataclass(frozen=True)
class Gates:
    """`whole` is fitted on all targets; `halves`: the gate that ranks the users outside, and inside `half_of_users`;
    `without`: name -> the gate that does without some members."""

    whole: Gate
    halves: tuple[Gate, Gate]
    without: dict[str, Gate]


def half_of_users(targets: Targets, seed: int) -> np.ndarray:
    """(T,) bool: which targets belong to one half of the users, drawn at random."""
    in_half = np.random.default_rng([SEED, seed]).random(targets.histories.n_users) < 0.5
    return in_half[targets.users]


def fit_gates(
    stored: StoredLists,
    popularity: np.ndarray,
    config: FuseSettings,
    left_out: Mapping[str, Sequence[str]],
    *,
    max_targets: int = MAX_TARGETS,
    first_fit_values: int = _FIRST_FIT_VALUES,
) -> Gates:
    """Fit all gates on targets of valid.

    The first fit sees as many of them, drawn at random, as have pools of `first_fit_values` together; the second fit
    and the trees see all. The number of trees is chosen for the whole gate. A gate without a member has as many, and a
    gate of half the users half as many. Gates without a member start at the whole gate's first 100 of each history.

    Args:
        stored: the lists of all members.
        popularity: (N, 2), `POPULARITY_FEATURES` of every item.
        config: settings of the stage.
        left_out: name -> the members that a gate of `without` does without.
        max_targets: most targets of valid, drawn at random.
        first_fit_values: most float32 values of features in memory during the first fit.
    """
    drawn = sample_events(np.flatnonzero(stored.targets.is_in_split(Split.VALID)), max_targets, [SEED, 5])
    targets, lists = stored.targets.take(drawn), stored.read(drawn)
    items, half, fold = targets.items, half_of_users(targets, 1), half_of_users(targets, 2)
    start = new_gate(lists, config.rules.n_candidates)

    def block_of(rows: np.ndarray) -> _Block:
        pool = start.pool({name: own.take(rows) for name, own in lists.items()}, targets.pasts(rows), popularity)
        return rows, with_target_in_pool(pool, items[rows])

    def blocks() -> Iterator[_Block]:
        """All targets in random order, and in blocks of one half of the users."""
        order = np.random.default_rng([SEED, 6]).permutation(len(drawn))
        for block in np.split(order, range(_BLOCK, len(order), _BLOCK)):
            yield from (block_of(rows) for rows in (block[half[block]], block[~half[block]]) if len(rows))

    stream = iter(progress(blocks(), desc="fitting the fusion", unit="block"))
    first: list[_Block] = []
    while sum(pool.features.size for _, pool in first) < first_fit_values and (found := next(stream, None)):
        first.append(found)
    fitted_on = (np.ones(len(drawn), dtype=bool), half, ~half)
    gates = []
    for mask in fitted_on:
        seen = [(rows, pool) for rows, pool in first if mask[rows[0]]]
        gates.append(start.fitted([pool for _, pool in seen], [items[rows] for rows, _ in seen]))
    tops: list[list[_Block]] = [[block_of(np.arange(0))] for _ in gates]  # of nobody, for a half may be empty
    while found := first.pop() if first else next(stream, None):
        rows, pool = found
        for gate, mask, top in zip(gates, fitted_on, tops, strict=True):
            if mask[rows[0]]:
                top.append((rows, gate.top_pool(pool, items[rows])))

    whole_rows, whole_pool = _together(tops[0])
    whole = _second_fit(gates[0], whole_pool, items[whole_rows], fold[whole_rows], config.own.trees)
    n_trees = whole.trees.n_trees if whole.trees else 0
    halves = []
    for gate, top in zip(gates[1:], tops[1:], strict=True):
        rows, pool = _together(top)
        halves.append(_second_fit(gate, pool, items[rows], None, n_trees // 2))
    without = {}
    for name, members in progress(left_out.items(), desc="fitting fusions without a member", unit="fusion"):
        gate = whole.without_members(members)
        pool = with_target_in_pool(whole_pool.only_members(whole.keeps(members)), items[whole_rows])
        without[name] = _second_fit(gate, pool, items[whole_rows], None, n_trees)
    return Gates(whole, (halves[0], halves[1]), without)


def _together(blocks: list[_Block]) -> _Block:
    """All blocks as one; empties the list, so that memory holds them once."""
    rows, pool = np.concatenate([rows for rows, _ in blocks]), concatenate_pools([pool for _, pool in blocks])
    blocks.clear()
    return rows, pool


def _second_fit(gate: Gate, top: Pool, targets: np.ndarray, fold: np.ndarray | None, max_trees: int) -> Gate:
    """The gate fitted again on its first 100, and its trees; arguments are those of `Gate.with_trees`."""
    gate = gate.fitted([top], [targets])
    return gate.with_trees(top, targets, fold, max_trees) if max_trees else gate
