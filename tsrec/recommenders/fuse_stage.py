"""The fuse stage: fits a gate on all members' lists of valid, and ranks every target by it.

On test every target is ranked by the gate fitted on all of valid, and by gates that leave out one member each. On valid
each half of the users is ranked by a gate fitted on the other half, so that metrics on valid are not too good. Serving
reads the gate by `open_gate` and ranks by `tsrec.recommenders.fused_member`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pyarrow as pa

from tsrec.columns import FUSED, LLM, LLMS, Split
from tsrec.columns import Columns as C
from tsrec.errors import ArtifactError
from tsrec.machine.progress import progress
from tsrec.recommenders.candidates import lists_to_table, read_candidates, repeats_filter, stored_lists
from tsrec.recommenders.catalogue import Catalogue, read_catalogue, read_catalogue_as_train
from tsrec.recommenders.fusion_gate import Gate, new_gate, with_target_in_pool
from tsrec.recommenders.pool import ITEM_FEATURES, Pool
from tsrec.recommenders.ranking import Ranked, empty_lists, fill_with_popular
from tsrec.recommenders.refit import WITH_VALID
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import SEED, Targets, select_targets
from tsrec.recommenders.trees import Trees
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactWriter

REFIT = f"{FUSED} refit"
_SHOWN = 10  # items of a list that `recommendations` holds
_PROPOSER_RANK = 20  # a member that ranks an item lower is not named among its proposers
_FITS_AT_ONCE = 4  # each holds its pools: about a GiB on Beauty
_BLOCK = 512  # targets whose pools are in memory at once


def open_gate(fuse: Artifact) -> Gate:
    """The gate of a `fuse` artifact, with its trees.

    Raises:
        ArtifactError: it weighs other features than this version knows.
    """
    content = fuse.json("gate")
    if set(content["item"]) != set(ITEM_FEATURES):
        raise ArtifactError(f"{fuse.path}: its gate was fitted by another version of tsrec; run the pipeline again")
    return Gate.from_json(content, Trees.from_json(fuse.json("trees")) if fuse.has("trees.json") else None)


def ablation_method(member: str) -> str:
    """The name in `metrics` of the fusion of all other members."""
    return f"{FUSED} without {member}"


def llm_name(role: str) -> str | None:
    """The LLM whose lists the parent `role` holds: `tsrec` for `decode`, `tsrec-x` for `decode:x`; None for others."""
    stage, _, variant = role.partition(":")
    if stage != "decode":
        return None
    return f"{LLM}-{variant}" if variant else LLM


def run(config: FuseSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Fit the gates, rank all targets, and write what follows.

    `gate.json`; `trees.json` where trees help; `gates_without.json` (weights only); `fused`, in the form of candidates;
    of test alone `fused without` each member and, where there are several, all LLMs; and `recommendations`.
    """
    catalogue, histories = read_catalogue(parents["ingest"])
    fusion = FusionFitter.read(parents, select_targets(histories, config.rules), catalogue, config)
    targets, members = fusion.targets, tuple(fusion.lists)
    is_valid, half = targets.is_in_split(Split.VALID), fusion.half_of_users(1)
    halves = (half, ~half)
    fitted_on = [is_valid, *(is_valid & ~ranked_half for ranked_half in halves)]
    gate, *half_gates = fit_at_once([partial(fusion.fit, members, mask) for mask in fitted_on])
    ablations = _ablations(members, fusion.llms)
    fitted = fit_at_once([partial(fusion.fit_without, gate, left_out, is_valid) for left_out in ablations.values()])
    ablated = {ablation_method(name): ablated_gate for name, ablated_gate in zip(ablations, fitted, strict=True)}
    out.write_json("gate", gate.to_json())
    if gate.trees:
        out.write_json("trees", gate.trees.to_json(members))
    out.write_json("gates_without", {name: ablated_gate.to_json() for name, ablated_gate in ablated.items()})
    fused = fusion.new_lists()
    fusion.rank(gate, ~is_valid, fused)
    for ranked_half, half_gate in zip(halves, half_gates, strict=True):
        fusion.rank(half_gate, is_valid & ranked_half, fused)
    out.write_table(FUSED, lists_to_table(fused.ranked, targets))
    for name, ablated_gate in ablated.items():
        lists = fusion.new_lists()
        fusion.rank(ablated_gate, ~is_valid, lists)
        out.write_table(name, lists_to_table(lists.ranked, targets))
    if "refit" in parents:
        out.write_table(REFIT, _refit_lists(gate, fusion, parents))
    out.write_table("recommendations", _recommendations(fused, members, targets, catalogue))
    n_trees = gate.trees.n_trees if gate.trees else 0
    out.count(n_valid_targets=int(is_valid.sum()), n_weights=len(gate.weights), n_trees=n_trees)


@dataclass(frozen=True)
class _FusedLists:
    """Fused lists (T, K) of all targets, and (T, K, M) int16: the rank that each member gave each item, 0 for none."""

    ranked: Ranked
    member_ranks: np.ndarray


@dataclass(frozen=True)
class FusionFitter:
    """Fits gates on members' lists, and ranks targets by them.

    `lists` maps each member to its (T, K) lists of all targets; `llms` are the members that are LLMs.
    """

    targets: Targets
    lists: dict[str, Ranked]
    llms: tuple[str, ...]
    catalogue: Catalogue
    config: FuseSettings

    @classmethod
    def read(cls, parents: Parents, targets: Targets, catalogue: Catalogue, config: FuseSettings) -> "FusionFitter":
        """Read the lists of every member from the artifacts, those of LLMs first."""
        llms = {role: name for role in parents if (name := llm_name(role))}
        lists = {name: read_candidates(parents[role], LLM, targets) for role, name in llms.items()}
        for name in stored_lists(parents["candidates"]):
            lists[name] = read_candidates(parents["candidates"], name, targets)
        return cls(targets, lists, tuple(llms.values()), catalogue, config)

    def new_lists(self) -> _FusedLists:
        """Empty lists of all targets, which `rank` fills."""
        n_targets, length = len(self.targets.events), min(self.config.own.length, self.catalogue.n_items)
        return _FusedLists(
            empty_lists(n_targets, length), np.zeros((n_targets, length, len(self.lists)), dtype=np.int16)
        )

    def fit(self, members: tuple[str, ...], mask: np.ndarray) -> Gate:
        """A gate over `members`, fitted on the targets where `mask` (T,) bool is true."""
        rows = np.flatnonzero(mask)
        return self._fit(self.new_gate(members, rows), rows, self.config.own.trees, self.half_of_users(2))

    def fit_without(self, gate: Gate, left_out: Sequence[str], mask: np.ndarray) -> Gate:
        """A fitted gate, fitted again without the members `left_out`, with as many trees as it has.

        It is fitted on the targets where `mask` (T,) bool is true.
        """
        n_trees = gate.trees.n_trees if gate.trees else 0
        return self._fit(gate.without_members(left_out), np.flatnonzero(mask), n_trees, None)

    def _fit(self, gate: Gate, rows: np.ndarray, max_trees: int, half: np.ndarray | None) -> Gate:
        blocks = _blocks(rows)
        items = [self.targets.items[block] for block in blocks]
        pools = [with_target_in_pool(self.pool(gate, block), own) for block, own in zip(blocks, items, strict=True)]
        gate = gate.fitted(pools, items).refitted_on_top(pools, items)
        if not max_trees:
            return gate
        return gate.with_trees(pools, items, None if half is None else [half[block] for block in blocks], max_trees)

    def half_of_users(self, seed: int) -> np.ndarray:
        """(T,) bool: which targets belong to one half of the users, drawn at random."""
        in_half = np.random.default_rng([SEED, seed]).random(self.targets.histories.n_users) < 0.5
        return in_half[self.targets.users]

    def new_gate(self, members: tuple[str, ...], rows: np.ndarray) -> Gate:
        """A gate over `members` that is not fitted yet; temperatures are measured on the targets `rows`."""
        return new_gate({name: self.lists[name].take(rows) for name in members}, self.config.rules.n_candidates)

    def rank(self, gate: Gate, mask: np.ndarray, into: _FusedLists) -> None:
        """Fuse the lists of the targets where `mask` (T,) bool is true, and write them into `into`."""
        popularity, length = self.catalogue.by_popularity(), into.ranked.items.shape[1]
        columns = [list(self.lists).index(name) for name in gate.members]
        for block in progress(_blocks(np.flatnonzero(mask)), desc="fusing", unit="block"):
            ranked, member_ranks = gate.rank(self.pool(gate, block), length)
            allow = repeats_filter(self.targets.pasts(block), self.catalogue.n_items, self.config.rules)
            into.ranked.items[block], into.ranked.scores[block] = fill_with_popular(ranked, popularity, allow)
            into.member_ranks[block[:, None, None], np.arange(length)[:, None], columns] = member_ranks

    def pool(self, gate: Gate, rows: np.ndarray) -> Pool:
        """The pool of the gate's members for the targets `rows`."""
        lists = {name: self.lists[name].take(rows) for name in gate.members}
        return gate.pool(lists, self.targets.pasts(rows), self.popularity)

    @cached_property
    def popularity(self) -> np.ndarray:
        """(N, 2) popularity of every item; recent popularity counts only where the split is by time.

        Elsewhere the newest train events need not come just before the targets.
        """
        return self.catalogue.popularity(recent=self.targets.histories.is_split_by_time())


def fit_at_once(fits: Sequence[Callable[[], Gate]]) -> list[Gate]:
    """Call all of `fits`, up to four at once in threads of their own; their gates in order."""
    import torch

    with ThreadPoolExecutor(min(_FITS_AT_ONCE, torch.get_num_threads())) as executor:
        fitted = executor.map(lambda fit: fit(), fits)
        return list(progress(fitted, desc="fitting fusions", total=len(fits), unit="fusion"))


def _ablations(members: tuple[str, ...], llms: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Name -> the members that an ablated gate leaves out: each one, and all LLMs where there are several.

    An ablation that would leave no member is skipped.
    """
    left_out: dict[str, tuple[str, ...]] = {name: (name,) for name in members}
    if len(llms) > 1:
        left_out[LLMS] = llms
    return {name: names for name, names in left_out.items() if len(names) < len(members)}


def _refit_lists(gate: Gate, fusion: FusionFitter, parents: Parents) -> pa.Table:
    """Lists of test by the same gate, over members that were fitted on train and valid; LLMs stay as they are."""
    catalogue, _ = read_catalogue_as_train(parents["ingest"], WITH_VALID)
    test, rows = fusion.targets.only_split(Split.TEST), np.flatnonzero(fusion.targets.is_in_split(Split.TEST))
    names = stored_lists(parents["refit"])
    lists = {
        name: read_candidates(parents["refit"], name, test) if name in names else ranked.take(rows)
        for name, ranked in fusion.lists.items()
    }
    refitted = replace(fusion, targets=test, lists=lists, catalogue=catalogue)
    fused = refitted.new_lists()
    refitted.rank(gate, np.ones(len(rows), dtype=bool), fused)
    return lists_to_table(fused.ranked, test)


def proposers(member_ranks: np.ndarray, members: Sequence[str]) -> list[str]:
    """The members that rank an item among their first 20, best rank first; at least the one that ranks it best.

    Args:
        member_ranks: (M,) the rank that each member gave the item, 0 where it did not propose it.
        members: (M,) their names.
    """
    listed = np.flatnonzero(member_ranks)
    order = listed[np.argsort(member_ranks[listed], kind="stable")]
    return [members[m] for place, m in enumerate(order) if place == 0 or member_ranks[m] <= _PROPOSER_RANK]


def _recommendations(lists: _FusedLists, members: tuple[str, ...], targets: Targets, catalogue: Catalogue) -> pa.Table:
    """The first 10 items of every fused list: one row an item, with ids, score and proposers."""
    histories = targets.histories
    shown = lists.ranked.items[:, :_SHOWN] >= 0
    rows, places = np.nonzero(shown)
    scores = lists.ranked.scores[rows, places]
    return pa.table(
        {
            C.SPLIT: pa.array(histories.splits[targets.events][rows]),
            C.USER: pa.array(histories.user_ids[targets.users[rows]]),
            C.POSITION: pa.array(histories.positions()[targets.events][rows].astype(np.int32)),
            C.RANK: pa.array((places + 1).astype(np.int32)),
            C.ITEM: pa.array(catalogue.item_ids[lists.ranked.items[rows, places]]),
            C.SCORE: pa.array(scores, mask=~np.isfinite(scores)),  # null: popularity filled the list
            C.PROPOSED_BY: pa.array(
                [proposers(lists.member_ranks[r, p], members) for r, p in zip(rows, places, strict=True)]
            ),
        }
    )


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
