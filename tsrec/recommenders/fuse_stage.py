"""The fuse stage: fits a gate on all members' lists of valid, and ranks every target by it.

On test every target is ranked by the gate fitted on valid, and by gates that leave out one member each. On valid each
half of the users is ranked by a gate fitted on the other half, so that metrics on valid are not too good. Lists are
read, fused and written in blocks. Serving reads the gate by `open_gate` and ranks by `tsrec.recommenders.fused_member`.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tsrec.columns import FUSED, LLM, LLMS, Split
from tsrec.columns import Columns as C
from tsrec.errors import ArtifactError
from tsrec.machine.progress import progress
from tsrec.recommenders.candidates import BlockWriter, StoredLists, lists_to_table, repeats_filter, stored_lists
from tsrec.recommenders.catalogue import Catalogue, read_catalogue, read_catalogue_as_train
from tsrec.recommenders.fusion_gate import Gate
from tsrec.recommenders.gate_fitting import fit_gates, half_of_users
from tsrec.recommenders.pool import ITEM_FEATURES, SCORE_FEATURES, SCORES
from tsrec.recommenders.ranking import Ranked, empty_lists, fill_with_popular
from tsrec.recommenders.refit import WITH_VALID
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.recommenders.trees import Trees
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactWriter

REFIT = f"{FUSED} refit"
_SHOWN = 10  # items of a list that `recommendations` holds
_PROPOSER_RANK = 20  # a member that ranks an item lower is not named among its proposers
_NOT_PROPOSED = np.iinfo(np.int32).max


def open_gate(fuse: Artifact) -> Gate:
    """The gate of a `fuse` artifact, with its trees.

    Raises:
        ArtifactError: it weighs other features than this version knows.
    """
    content = fuse.json("gate")
    scores = content.get("scores")
    if set(content["item"]) != set(ITEM_FEATURES) or (scores is not None and set(scores) != set(SCORE_FEATURES)):
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


def member_sources(parents: Parents) -> dict[str, tuple[Artifact, str]]:
    """The artifact and the table of every member's lists, those of LLMs first; as `StoredLists` takes them."""
    sources = {name: (parents[role], LLM) for role in parents if (name := llm_name(role))}
    return sources | {name: (parents["candidates"], name) for name in stored_lists(parents["candidates"])}


def run(config: FuseSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Fit the gates, rank all targets, and write what follows.

    `gate.json`; `trees.json` where trees help; `gates_without.json` (weights only); `fused`, in the form of candidates;
    of test alone `fused without` each member and, where there are several, all LLMs; and `recommendations`.
    """
    catalogue, histories = read_catalogue(parents["ingest"])
    fusion = Fusion.read(parents, select_targets(histories, config.rules), catalogue, config)
    targets, members = fusion.stored.targets, tuple(name for name in fusion.stored.sources if name != SCORES)
    left_out = _ablations(members, [name for role in parents if (name := llm_name(role))])
    gates = fit_gates(fusion.stored, fusion.popularity, config, left_out)
    without = {ablation_method(name): gate for name, gate in gates.without.items()}
    out.write_json("gate", gates.whole.to_json())
    if gates.whole.trees:
        out.write_json("trees", gates.whole.trees.to_json(members, scored=gates.whole.scored))
    out.write_json("gates_without", {name: gate.to_json() for name, gate in without.items()})
    is_valid, half = targets.is_in_split(Split.VALID), half_of_users(targets, 1)
    ranked_by = (  # these targets by these gates
        (is_valid & ~half, {FUSED: gates.halves[0]}),
        (is_valid & half, {FUSED: gates.halves[1]}),
        (~is_valid, {FUSED: gates.whole, **without}),
    )
    length, names = min(config.own.length, catalogue.n_items), (FUSED, *without)
    with ExitStack() as stack:
        tables = {n: stack.enter_context(closing(BlockWriter(out, n))) for n in (*names, "recommendations")}
        for rows, lists in progress(fusion.stored.blocks(np.arange(len(targets.events))), desc="fusing", unit="block"):
            block, fused = targets.take(rows), {name: empty_lists(len(rows), length) for name in names}
            member_ranks = np.zeros((len(rows), length, len(members)), dtype=np.int32)
            for mask, gates_by_name in ranked_by:
                places = np.flatnonzero(mask[rows])
                part = {name: own.take(places) for name, own in lists.items()}
                found, member_ranks[places] = fusion.rank(gates_by_name, part, block.take(places))
                for name, ranked in found.items():
                    fused[name].items[places], fused[name].scores[places] = ranked
            for name, ranked in fused.items():
                tables[name].write(lists_to_table(ranked, block))
            tables["recommendations"].write(_recommendations(fused[FUSED], member_ranks, members, block, catalogue))
    if "refit" in parents:
        _write_refit(gates.whole, fusion, parents, out)
    n_trees = gates.whole.trees.n_trees if gates.whole.trees else 0
    out.count(n_valid_targets=int(is_valid.sum()), n_weights=len(gates.whole.weights), n_trees=n_trees)


@dataclass(frozen=True)
class Fusion:
    """Fuses the `stored` lists of members; `popularity` (N, 2) is that of every item."""

    stored: StoredLists
    catalogue: Catalogue
    popularity: np.ndarray
    config: FuseSettings

    @classmethod
    def read(cls, parents: Parents, targets: Targets, catalogue: Catalogue, config: FuseSettings) -> "Fusion":
        """The lists of every member from the artifacts, those of LLMs first, and the LLM's scores where there are any.

        Recent popularity counts only where the split is by time. Elsewhere the newest train events need not come just
        before the targets.
        """
        popularity = catalogue.popularity(recent=targets.histories.is_split_by_time())
        scores = {SCORES: (parents["score"], LLM)} if "score" in parents else {}
        return cls(StoredLists(targets, {**member_sources(parents), **scores}), catalogue, popularity, config)

    def rank(
        self, gates: Mapping[str, Gate], lists: Mapping[str, Ranked], targets: Targets
    ) -> tuple[dict[str, Ranked], np.ndarray]:
        """Fuse the lists of B targets by several gates.

        Args:
            gates: by name; the first is of all members, others of some of them, so that they share its pool.
            lists: member -> its (B, K) lists; and the LLM's scores where the gates weigh them.
            targets: the B targets.

        Returns:
            name -> fused lists, filled with popular items; and (B, length, M) int32: the rank that each member gave
            each item of the first gate's lists, 0 where it did not propose it.
        """
        whole, length = next(iter(gates.values())), min(self.config.own.length, self.catalogue.n_items)
        pasts, by_popularity = targets.pasts(), self.catalogue.by_popularity()
        pool = whole.pool(lists, pasts, self.popularity)
        allow = repeats_filter(pasts, self.catalogue.n_items, self.config.rules)
        fused, all_ranks = {}, []
        for name, gate in gates.items():
            is_kept = np.isin(whole.members, gate.members)
            part = pool if is_kept.all() else pool.only_members(is_kept, scores=gate.scored)
            ranked, member_ranks = gate.rank(part, length)
            fused[name] = fill_with_popular(ranked, by_popularity, allow)
            all_ranks.append(member_ranks)
        return fused, all_ranks[0]


def _ablations(members: Sequence[str], llms: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name -> the members that an ablated gate leaves out: each one, and all LLMs where there are several.

    An ablation that would leave no member is skipped.
    """
    left_out: dict[str, tuple[str, ...]] = {name: (name,) for name in members}
    if len(llms) > 1:
        left_out[LLMS] = tuple(llms)
    return {name: names for name, names in left_out.items() if len(names) < len(members)}


def _write_refit(gate: Gate, fusion: Fusion, parents: Parents, out: ArtifactWriter) -> None:
    """Lists of test by the same gate, over members that were fitted on train and valid.

    LLMs stay as they are. So do the LLM's scores: what only refitted members propose has none.
    """
    catalogue, _ = read_catalogue_as_train(parents["ingest"], WITH_VALID)
    all_targets = fusion.stored.targets
    test_rows = np.flatnonzero(all_targets.is_in_split(Split.TEST))
    test = all_targets.take(test_rows)
    refitted = StoredLists(test, {name: (parents["refit"], name) for name in stored_lists(parents["refit"])})
    by_time = test.histories.is_split_by_time()
    fusion = replace(fusion, catalogue=catalogue, popularity=catalogue.popularity(recent=by_time))
    blocks = zip(fusion.stored.blocks(test_rows), refitted.blocks(np.arange(len(test_rows))), strict=True)
    with closing(BlockWriter(out, REFIT)) as table:
        for (_, lists), (rows, refitted_lists) in blocks:
            fused, _ = fusion.rank({REFIT: gate}, lists | refitted_lists, test.take(rows))
            table.write(lists_to_table(fused[REFIT], test.take(rows)))


def proposers(member_ranks: np.ndarray, members: Sequence[str]) -> pa.ListArray:
    """Of each item the members that rank it among their first 20, best rank first; at least the one that ranks it best.

    Args:
        member_ranks: (E, M) the rank that each member gave each item, 0 where it did not propose it.
        members: (M,) their names.
    """
    ranks = np.where(member_ranks > 0, member_ranks, _NOT_PROPOSED)
    order = np.argsort(ranks, axis=1, kind="stable")
    ranks = np.take_along_axis(ranks, order, axis=1)
    is_named = ranks <= _PROPOSER_RANK
    is_named[:, 0] = ranks[:, 0] < _NOT_PROPOSED
    offsets = np.concatenate([[0], np.cumsum(is_named.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(members, pa.string()).take(pa.array(order[is_named])))


def _recommendations(
    fused: Ranked, member_ranks: np.ndarray, members: Sequence[str], targets: Targets, catalogue: Catalogue
) -> pa.Table:
    """The first 10 items of every fused list: one row an item, with ids, score and proposers."""
    rows, places = np.nonzero(fused.items[:, :_SHOWN] >= 0)
    scores = fused.scores[rows, places]
    return pa.table(
        {
            C.SPLIT: pa.array(targets.histories.splits[targets.events][rows]),
            C.USER: pa.array(targets.histories.user_ids[targets.users[rows]]),
            C.POSITION: pa.array(targets.positions[rows].astype(np.int32)),
            C.RANK: pa.array((places + 1).astype(np.int32)),
            C.ITEM: pa.array(catalogue.item_ids[fused.items[rows, places]]),
            C.SCORE: pa.array(scores, mask=~np.isfinite(scores)),  # null: popularity filled the list
            C.PROPOSED_BY: proposers(member_ranks[rows, places], members),
        }
    )
