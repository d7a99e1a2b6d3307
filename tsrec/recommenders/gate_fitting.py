"""Fits the gates of the fuse stage, from members' lists that are read block by block.

There are three kinds of gates. The whole gate is fitted on all targets. Two gates are each fitted on half of the users,
and rank the other half. One gate for each member, or group of members, is fitted without it.

A pool holds the proposed items of a block of targets. It is built once. All gates take their first 100 items from it,
and then it is freed. So memory does not grow with the number of users. One gate at a time has the features of its
items. They are freed before its trees grow, for LightGBM has its own copy, a quarter as large.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from tsrec.columns import Split
from tsrec.machine.freed_memory import return_freed_memory
from tsrec.machine.progress import progress
from tsrec.recommenders.candidates import StoredLists
from tsrec.recommenders.fusion_gate import Gate, new_gate, with_target_in_pool
from tsrec.recommenders.pool import Pool, concatenate_pools
from tsrec.recommenders.ranking import Ranked
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import SEED, Targets, sample_events
from tsrec.recommenders.trees import Trees

if TYPE_CHECKING:
    from lightgbm import Booster

_Block = tuple[np.ndarray, Pool]
"""Rows of targets, and the pool of their proposed items. Targets whose own item nobody proposed are not in the pool."""

_Fitted = tuple[Gate, "Booster | None", int]
"""A gate without its trees, and what `Gate.grown` takes to give it these."""

MAX_TARGETS = 10_000
"""Most targets that gates are fitted on; they are drawn at random."""
_MAX_VALUES = 30_000_000, 16_000_000  # feature values of the first and second fit; in float32 120 and 64 MB
_BLOCK = 512
_FITS_AT_ONCE = 2  # each grows its trees on LightGBM's copy of its features, a quarter of their size


@dataclass(frozen=True)
class Gates:
    """The fitted gates.

    `whole` is fitted on all targets. The first of `halves` is fitted on the users in `half_of_users` and ranks the
    others; the second is the reverse. `without`: name -> the gate that lacks some members.
    """

    whole: Gate
    halves: tuple[Gate, Gate]
    without: dict[str, Gate]

    def to_json(self) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Name, weights and trees (empty: none) of every gate, as `from_json` reads them without loss."""
        gates = [("", self.whole), *(("", half) for half in self.halves), *self.without.items()]
        trees = [gate.trees.to_json(gate.members, scored=gate.scored) if gate.trees else {} for _, gate in gates]
        return [(name, gate.to_json(), own) for (name, gate), own in zip(gates, trees, strict=True)]

    @classmethod
    def from_json(cls, content: Iterable[tuple[str, dict[str, Any], dict[str, Any]]]) -> "Gates":
        """Read what `to_json` wrote."""
        gates = [(name, Gate.from_json(own, Trees.from_json(trees) if trees else None)) for name, own, trees in content]
        (_, whole), (_, first), (_, second) = gates[:3]
        return cls(whole, (first, second), dict(gates[3:]))


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
    max_values: tuple[int, int] = _MAX_VALUES,
) -> Gates:
    """Fit all gates on targets of valid.

    The first fit uses whole pools, of as many random targets as `max_values` allows. The second fit and the trees use
    only the first 100 items of each target, so they see more targets. The number of trees is chosen for the whole gate.
    Gates without a member have the same number, gates of half the users half of it. A gate without a member has no
    first fit of its own. It chooses its first 100 items by the weights of the other members in the whole gate, so that
    the member left out has no part in the choice.

    Args:
        stored: the lists of all members.
        popularity: (N, 2) floats, `POPULARITY_FEATURES` of every item.
        config: settings of the stage.
        left_out: name -> the members that this gate of `without` lacks.
        max_targets: most targets of valid, drawn at random.
        max_values: most feature values in memory, for the first fit and for the second.
    """
    drawn = sample_events(np.flatnonzero(stored.targets.is_in_split(Split.VALID)), max_targets, [SEED, 5])
    targets = stored.targets.take(drawn)
    items, half, fold = targets.items, half_of_users(targets, 1), half_of_users(targets, 2)
    fitted_on = (np.ones(len(drawn), dtype=bool), half, ~half)
    start = new_gate(lists := stored.read(drawn), config.rules.n_candidates)
    blocks = _blocks(start, lists, targets, half, popularity)
    shown = progress(blocks, desc="fitting fusions", unit="block")
    gates, tops = _first_fits(start, shown, items, fitted_on, tuple(left_out.values()), max_values)
    del lists, blocks, shown  # a hundred MB

    rows, pool = _together(tops[0])
    return_freed_memory()
    top = gates[0].top_pool(pool, items[rows])
    whole = gates[0].fitted([top], [items[rows]])
    if config.own.trees:
        whole = whole.with_trees(top, items[rows], fold[rows], config.own.trees)
    del top
    n_trees = whole.trees.n_trees if whole.trees else 0

    def fit_half(number: int) -> _Fitted:
        half_rows, top = _together(tops[number])
        return _second_fit(gates[number], top, items[half_rows], n_trees // 2)

    def fit_without(members: Sequence[str]) -> _Fitted:
        first = gates[0].without_members(members)
        # Of the whole pool only its first 100 items without them are copied.
        near = pool.take_entries(gates[0].top_entries(pool, members))
        near = near.only_members(whole.keeps(members), scores=first.scored)
        return _second_fit(first, with_target_in_pool(near, items[rows]), items[rows], n_trees)

    one_pool_at_a_time = Lock()

    def with_trees(fit: Callable[[], _Fitted]) -> Gate:
        with one_pool_at_a_time:
            gate, booster, n_trees = fit()
            return_freed_memory()
        return gate.grown(booster, n_trees)

    fits = [partial(fit_half, 1), partial(fit_half, 2), *(partial(fit_without, gone) for gone in left_out.values())]
    with ThreadPoolExecutor(_FITS_AT_ONCE) as threads:  # trees grow in one thread each, outside of Python's lock
        fitted = threads.map(with_trees, fits)
        halves = next(fitted), next(fitted)
        ablated = zip(left_out, fitted, strict=True)
        shown = progress(ablated, total=len(left_out), desc="fitting fusions without a member", unit="fusion")
        without = dict(shown)
    return Gates(whole, halves, without)


def _blocks(
    gate: Gate, lists: Mapping[str, Ranked], targets: Targets, half: np.ndarray, popularity: np.ndarray
) -> Iterator[_Block]:
    """Blocks of all targets in random order, each inside or outside of `half` (T,) bool. The first block is empty."""
    order = np.random.default_rng([SEED, 6]).permutation(len(half))
    for block in np.split(order, range(0, len(order), _BLOCK)):
        for rows in (block[half[block]], block[~half[block]]):
            if len(rows) or not len(block):
                pool = gate.pool({n: own.take(rows) for n, own in lists.items()}, targets.pasts(rows), popularity)
                yield rows, with_target_in_pool(pool, targets.items[rows])


def _first_fits(
    start: Gate,
    blocks: Iterable[_Block],
    items: np.ndarray,
    fitted_on: Sequence[np.ndarray],
    left_out: Sequence[Sequence[str]],
    max_values: tuple[int, int],
) -> tuple[list[Gate], list[list[_Block]]]:
    """For each mask of `fitted_on`, (T,) bool: a gate fitted once, and blocks of its first 100 items for each target.

    Beside those of the first gate stand the first 100 items without each of `left_out`. `items` (T,) are the items of
    the targets. `max_values` is that of `fit_gates`.
    """
    stream = iter(blocks)
    first: list[_Block] = []
    while sum(pool.features.size for _, pool in first) < max_values[0] and (found := next(stream, None)):
        first.append(found)
    gates = []
    for mask in fitted_on:
        own = [number for number, (rows, _) in enumerate(first) if mask[rows].all()]
        gates.append(start.fitted([first[number][1] for number in own], [items[first[number][0]] for number in own]))
    tops: list[list[_Block]] = [[] for _ in gates]
    n_values = 0
    while found := first.pop() if first else next(stream, None):
        rows, pool = found
        for number, (gate, mask, top) in enumerate(zip(gates, fitted_on, tops, strict=True)):
            if mask[rows].all():
                kept = [gate.top_entries(pool, gone) for gone in ((), *(left_out if not number else ()))]
                part = pool.take_entries(np.unique(np.concatenate(kept)))
                top.append((rows, with_target_in_pool(part, items[rows])))
        n_values += gates[0].top_pool(pool, items[rows]).features.size
        if n_values > max_values[1]:
            break
    return gates, tops


def _together(blocks: list[_Block]) -> _Block:
    """All blocks joined into one. Empties the list, so that memory does not hold them twice."""
    rows, pool = np.concatenate([rows for rows, _ in blocks]), concatenate_pools([pool for _, pool in blocks])
    blocks.clear()
    return rows, pool


def _second_fit(gate: Gate, top: Pool, targets: np.ndarray, n_trees: int) -> _Fitted:
    """The gate fitted again on its first 100 items; it is to have `n_trees`. Other arguments as in `Gate.booster`."""
    gate = gate.fitted([top], [targets])
    return gate, gate.booster(top, targets) if n_trees else None, n_trees
