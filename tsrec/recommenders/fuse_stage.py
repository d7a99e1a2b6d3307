"""The fuse stage: all members' lists -> a gate, fitted on valid alone -> one list a target, and each member's worth.

On test every target is ranked by the gate fitted on all of valid, and once more by gates that lack a member each. On
valid each half of the users is ranked by the gate fitted on the other half, so that a figure read there is not
flattered.
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
from tsrec.recommenders.candidates import allowance, candidate_names, lists_table, read_candidates
from tsrec.recommenders.catalogue import Catalogue, read_catalogue, read_catalogue_as_train
from tsrec.recommenders.gate import Gate, learnable, new_gate
from tsrec.recommenders.pool import ITEM_FEATURES, Pool
from tsrec.recommenders.ranking import Ranked, empty, fill
from tsrec.recommenders.refit import WITH_VALID
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import SEED, Targets, select_targets
from tsrec.recommenders.trees import Trees
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactWriter

REFIT = f"{FUSED} refit"
_SHOWN = 10  # items of it that `recommendations` shows
_PROPOSERS_AMONG = 20  # a member proposes what it has among its first so many
_FITS_AT_ONCE = 4  # each holds its pools: on Beauty about a GiB
_BLOCK = 512  # targets whose pools are in memory at once


def gate_of(fuse: Artifact) -> Gate:
    """The gate of a `fuse` artifact, with its trees.

    Raises:
        ArtifactError: it weighs other features than this version knows.
    """
    content = fuse.json("gate")
    if set(content["item"]) != set(ITEM_FEATURES):
        raise ArtifactError(f"{fuse.path}: its gate was fitted by another version of tsrec; run the pipeline again")
    return Gate.from_json(content, Trees.from_json(fuse.json("trees")) if fuse.has("trees.json") else None)


def without(member: str) -> str:
    """The method, in `metrics`, that is the fusion of all others."""
    return f"{FUSED} without {member}"


def llm_name(role: str) -> str | None:
    """The method that a parent's lists are of: `tsrec` for `decode`, `tsrec-x` for `decode:x`; None: no LLM's."""
    stage, _, variant = role.partition(":")
    if stage != "decode":
        return None
    return f"{LLM}-{variant}" if variant else LLM


def run(config: FuseSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write `gate.json`, `trees.json` where trees help, `gates_without.json` (weights only), lists in the form of
    candidates (`fused`, and of test `fused without` each member and, where there are several, all LLMs), and
    `recommendations`."""
    catalogue, histories = read_catalogue(parents["ingest"])
    fusion = FusionFitter.of(parents, select_targets(histories, config.rules), catalogue, config)
    targets, members = fusion.targets, tuple(fusion.lists)
    is_valid, half = targets.is_in_split(Split.VALID), fusion.half_of_users(1)
    halves = (half, ~half)
    fitted_on = [is_valid, *(is_valid & ~mine for mine in halves)]
    gate, *of_halves = fit_at_once([partial(fusion.fit, members, some) for some in fitted_on])
    left_out = _left_out(members, fusion.llms)
    fitted = fit_at_once([partial(fusion.fit_without, gate, gone, is_valid) for gone in left_out.values()])
    others = {without(name): other for name, other in zip(left_out, fitted, strict=True)}
    out.write_json("gate", gate.to_json())
    if gate.trees:
        out.write_json("trees", gate.trees.to_json(members))
    out.write_json("gates_without", {name: other.to_json() for name, other in others.items()})
    fused = fusion.new_lists()
    fusion.rank(gate, ~is_valid, fused)
    for mine, other in zip(halves, of_halves, strict=True):
        fusion.rank(other, is_valid & mine, fused)
    out.write_table(FUSED, lists_table(fused.ranked, targets))
    for name, other in others.items():
        lists = fusion.new_lists()
        fusion.rank(other, ~is_valid, lists)
        out.write_table(name, lists_table(lists.ranked, targets))
    if "refit" in parents:
        out.write_table(REFIT, _refit_lists(gate, fusion, parents))
    out.write_table("recommendations", _recommendations(fused, members, targets, catalogue))
    n_trees = gate.trees.n_trees if gate.trees else 0
    out.count(n_valid_targets=int(is_valid.sum()), n_weights=len(gate.weights), n_trees=n_trees)


@dataclass(frozen=True)
class _Lists:
    """Fused lists of all T targets, and the rank that each of M members gave each of the K items, 0 for none."""

    ranked: Ranked
    member_ranks: np.ndarray


@dataclass(frozen=True)
class FusionFitter:
    """Members' lists of all targets: name -> (T, K) lists; `llms` names those of them that are LLMs."""

    targets: Targets
    lists: dict[str, Ranked]
    llms: tuple[str, ...]
    catalogue: Catalogue
    config: FuseSettings

    @classmethod
    def of(cls, parents: Parents, targets: Targets, catalogue: Catalogue, config: FuseSettings) -> "FusionFitter":
        """Read the lists of every member, the LLM's first."""
        llms = {role: name for role in parents if (name := llm_name(role))}
        lists = {name: read_candidates(parents[role], LLM, targets) for role, name in llms.items()}
        for name in candidate_names(parents["candidates"]):
            lists[name] = read_candidates(parents["candidates"], name, targets)
        return cls(targets, lists, tuple(llms.values()), catalogue, config)

    def new_lists(self) -> _Lists:
        """Lists of all targets that hold nothing yet."""
        n_targets, length = len(self.targets.events), min(self.config.own.length, self.catalogue.n_items)
        return _Lists(empty(n_targets, length), np.zeros((n_targets, length, len(self.lists)), dtype=np.int16))

    def fit(self, members: tuple[str, ...], wanted: np.ndarray) -> Gate:
        """A gate over some members, fitted on the targets where `wanted` (T,) bool is true."""
        rows = np.flatnonzero(wanted)
        return self._fit(self.new_gate(members, rows), rows, self.config.own.trees, self.half_of_users(2))

    def fit_without(self, gate: Gate, gone: Sequence[str], wanted: np.ndarray) -> Gate:
        """A fitted gate, fitted once more without some of its members, with as many trees as it has."""
        n_trees = gate.trees.n_trees if gate.trees else 0
        return self._fit(gate.without(gone), np.flatnonzero(wanted), n_trees, None)

    def _fit(self, gate: Gate, rows: np.ndarray, trees: int, half: np.ndarray | None) -> Gate:
        blocks = _blocks(rows)
        right = [self.targets.items[some] for some in blocks]
        pools = [learnable(self.pool(gate, some), items) for some, items in zip(blocks, right, strict=True)]
        gate = gate.fitted(pools, right).focused(pools, right)
        if not trees:
            return gate
        return gate.with_trees(pools, right, None if half is None else [half[some] for some in blocks], trees)

    def half_of_users(self, seed: int) -> np.ndarray:
        """(T,) bool: which targets are of one half of the users, drawn at random."""
        of_users = np.random.default_rng([SEED, seed]).random(self.targets.histories.n_users) < 0.5
        return of_users[self.targets.users]

    def new_gate(self, members: tuple[str, ...], rows: np.ndarray) -> Gate:
        """A gate that is not fitted, with temperatures of the targets `rows`."""
        return new_gate({name: self.lists[name].of(rows) for name in members}, self.config.rules.n_candidates)

    def rank(self, gate: Gate, wanted: np.ndarray, into: _Lists) -> None:
        """Fuse the lists of the targets where `wanted` is true."""
        popularity, length = self.catalogue.by_popularity(), into.ranked.items.shape[1]
        columns = [list(self.lists).index(name) for name in gate.members]
        for some in progress(_blocks(np.flatnonzero(wanted)), desc="fusing", unit="block"):
            ranked, member_ranks = gate.rank(self.pool(gate, some), length)
            allow = allowance(self.targets.pasts(some), self.catalogue.n_items, self.config.rules)
            into.ranked.items[some], into.ranked.scores[some] = fill(ranked, popularity, allow)
            into.member_ranks[some[:, None, None], np.arange(length)[:, None], columns] = member_ranks

    def pool(self, gate: Gate, rows: np.ndarray) -> Pool:
        """What the gate's members propose for the targets `rows`."""
        lists = {name: self.lists[name].of(rows) for name in gate.members}
        return gate.pool(lists, self.targets.pasts(rows), self.popularity)

    @cached_property
    def popularity(self) -> np.ndarray:
        """(N, 2) that of the catalogue; the newest events tell of the targets only where they came just before them."""
        return self.catalogue.popularity(recent=self.targets.histories.is_split_by_time())


def fit_at_once(fits: Sequence[Callable[[], Gate]]) -> list[Gate]:
    """What each gives, in order; some are called at once, each in one thread."""
    import torch

    with ThreadPoolExecutor(min(_FITS_AT_ONCE, torch.get_num_threads())) as executor:
        fitted = executor.map(lambda fit: fit(), fits)
        return list(progress(fitted, desc="fitting fusions", total=len(fits), unit="fusion"))


def _left_out(members: tuple[str, ...], llms: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The members that one more gate does without, by what it is called; some member is always left."""
    left_out: dict[str, tuple[str, ...]] = {name: (name,) for name in members}
    if len(llms) > 1:
        left_out[LLMS] = llms
    return {name: gone for name, gone in left_out.items() if len(gone) < len(members)}


def _refit_lists(gate: Gate, fusion: FusionFitter, parents: Parents) -> pa.Table:
    """The same gate over members that were fitted on train and valid; the LLM's lists are what they were."""
    catalogue, _ = read_catalogue_as_train(parents["ingest"], WITH_VALID)
    test, rows = fusion.targets.only_split(Split.TEST), np.flatnonzero(fusion.targets.is_in_split(Split.TEST))
    names = candidate_names(parents["refit"])
    lists = {
        name: read_candidates(parents["refit"], name, test) if name in names else ranked.of(rows)
        for name, ranked in fusion.lists.items()
    }
    refitted = replace(fusion, targets=test, lists=lists, catalogue=catalogue)
    fused = refitted.new_lists()
    refitted.rank(gate, np.ones(len(rows), dtype=bool), fused)
    return lists_table(fused.ranked, test)


def proposers(member_ranks: np.ndarray, members: Sequence[str]) -> list[str]:
    """The members that have an item among their first few, the one that ranks it best first; at least that one.

    Args:
        member_ranks: (M,) the rank that each member gave the item, 0 where it did not propose it.
    """
    listed = np.flatnonzero(member_ranks)
    order = listed[np.argsort(member_ranks[listed], kind="stable")]
    return [members[m] for place, m in enumerate(order) if place == 0 or member_ranks[m] <= _PROPOSERS_AMONG]


def _recommendations(lists: _Lists, members: tuple[str, ...], targets: Targets, catalogue: Catalogue) -> pa.Table:
    """The first items of every fused list as people read them."""
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
            C.SCORE: pa.array(scores, mask=~np.isfinite(scores)),  # nothing proposed it: popularity filled the list
            C.PROPOSED_BY: pa.array(
                [proposers(lists.member_ranks[r, p], members) for r, p in zip(rows, places, strict=True)]
            ),
        }
    )


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
