"""The fuse stage: fits a gate on all members' lists of valid, and ranks every target by it.

On test every target is ranked by the gate fitted on valid, and by gates that leave out one member each. On valid each
half of the users is ranked by a gate fitted on the other half, so that metrics on valid are not too good. Lists are
read, fused and written in blocks. Serving reads the gate by `open_gate` and ranks by `tsrec.recommenders.fused_member`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsrec.columns import FUSED, LLM, LLMS, Split
from tsrec.columns import Columns as C
from tsrec.errors import ArtifactError
from tsrec.recommenders.candidates import (
    BlockWriter,
    StoredLists,
    lists_from_table,
    lists_to_table,
    repeats_filter,
    stored_lists,
)
from tsrec.recommenders.catalogue import Catalogue, read_catalogue, read_catalogue_as_train
from tsrec.recommenders.fusion_gate import Gate
from tsrec.recommenders.gate_fitting import Gates, fit_gates, half_of_users
from tsrec.recommenders.pool import ITEM_FEATURES, SCORE_FEATURES, SCORES
from tsrec.recommenders.ranking import Ranked, empty_lists, fill_with_popular
from tsrec.recommenders.refit import REFIT_SCORES, WITH_VALID
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.recommenders.trees import Trees
from tsrec.sid.vectors import list_column
from tsrec.stage import Parents, Sharded
from tsrec.store import Artifact, ArtifactWriter, matrix_of
from tsrec.store.shards import Shard, iter_tables, row_shards
from tsrec.store.work_files import kept_table

REFIT = f"{FUSED} refit"
_SHOWN = 10  # items of a list that `recommendations` holds
_PROPOSER_RANK = 20  # a member that ranks an item lower is not named among its proposers
_NOT_PROPOSED = np.iinfo(np.int32).max
_BLOCK = 512  # targets fused at once; last digits may depend on it
_SHARD = 8 * _BLOCK  # some seconds' worth; whole blocks, so that no shard changes what is fused together
_GATES, _RANKS = "gates", "ranks"


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


def run(config: FuseSettings, parents: Parents, out: ArtifactWriter) -> Sharded:
    """Fit the gates, rank all targets, and write what follows; a killed run goes on at the shard it was at.

    The gates are fitted before there are shards, where the work folder does not have them. That takes one process:
    they see a limited number of targets, however many users there are.

    `gate.json`; `trees.json` where trees help; `gates_without.json` (weights only); `fused`, in the form of candidates;
    of test alone `fused without` each member and, where there are several, all LLMs; and `recommendations`.
    """
    stage = _FuseStage.open(config, parents, out)
    return Sharded([*stage.fused_shards(), *stage.refit_shards()], partial(_write, stage, out))


def _write(stage: "_FuseStage", out: ArtifactWriter) -> None:
    gates, targets, members = stage.gates, stage.fusion.stored.targets, stage.fusion.members
    out.write_json("gate", gates.whole.to_json())
    if gates.whole.trees:
        out.write_json("trees", gates.whole.trees.to_json(members, scored=gates.whole.scored))
    out.write_json("gates_without", {ablation_method(name): gate.to_json() for name, gate in gates.without.items()})
    with ExitStack() as stack:
        tables = {n: stack.enter_context(closing(BlockWriter(out, n))) for n in (*stage.names, "recommendations")}
        for rows, block in _blocks(iter_tables(stage.fused_shards(), "fusing", "target")):
            block_targets = targets.take(rows)
            fused = {name: _lists_in(block, name) for name in stage.names}
            for name, ranked in fused.items():
                tables[name].write(lists_to_table(ranked, block_targets))
            ranks = matrix_of(block, _RANKS).reshape(len(rows), -1, len(members))
            shown = _recommendations(fused[FUSED], ranks, members, block_targets, stage.fusion.catalogue)
            tables["recommendations"].write(shown)
    if stage.refit:
        with closing(BlockWriter(out, REFIT)) as table:
            for rows, block in _blocks(iter_tables(stage.refit_shards(), "fusing refitted members", "target")):
                table.write(lists_to_table(_lists_in(block, REFIT), stage.refit.targets.take(rows)))
    n_trees = gates.whole.trees.n_trees if gates.whole.trees else 0
    n_valid = int(targets.is_in_split(Split.VALID).sum())
    out.count(n_valid_targets=n_valid, n_weights=len(gates.whole.weights), n_trees=n_trees)


@dataclass(frozen=True)
class _FuseStage:
    """The fused lists of all targets, in shards.

    A shard is a table of B targets. It has the items and scores of every list in `names`, and the ranks (B, 10 * M)
    that the M members gave the first ten items of the first list. `refit`: the lists of members that were fitted again.
    """

    fusion: "Fusion"
    gates: Gates
    ranked_by: Sequence[tuple[np.ndarray, Mapping[str, Gate]]]
    refit: StoredLists | None
    ingest: Artifact
    work: Path

    @classmethod
    def open(cls, config: FuseSettings, parents: Parents, out: ArtifactWriter) -> "_FuseStage":
        """Fit the gates, or read those that an earlier attempt, or the process that asks for shards, has fitted."""
        catalogue, histories = read_catalogue(parents["ingest"])
        fusion = Fusion.read(parents, select_targets(histories, config.rules), catalogue, config)
        targets, members = fusion.stored.targets, fusion.members
        left_out = _ablations(members, [name for role in parents if (name := llm_name(role))])

        def fit() -> pa.Table:
            fitted = fit_gates(fusion.stored, fusion.popularity, config, left_out)
            return pa.table({_GATES: [json.dumps(gate) for gate in fitted.to_json()]})

        kept = kept_table(out.work / f"{_GATES}.parquet", fit)
        gates = Gates.from_json(json.loads(gate) for gate in kept[_GATES].to_pylist())
        is_valid, half = targets.is_in_split(Split.VALID), half_of_users(targets, 1)
        without = {ablation_method(name): gate for name, gate in gates.without.items()}
        ranked_by = (  # these targets by these gates
            (is_valid & ~half, {FUSED: gates.halves[0]}),
            (is_valid & half, {FUSED: gates.halves[1]}),
            (~is_valid, {FUSED: gates.whole, **without}),
        )
        refit = None
        if "refit" in parents:
            refitted = {name: (parents["refit"], name) for name in stored_lists(parents["refit"])}
            if "score" in parents:
                refitted[SCORES] = (parents["score"], REFIT_SCORES)
            refit = StoredLists(targets.only_split(Split.TEST), refitted)
        return cls(fusion, gates, ranked_by, refit, parents["ingest"], out.work)

    @property
    def names(self) -> tuple[str, ...]:
        """The lists of a shard, that of all members first."""
        return tuple(self.ranked_by[-1][1])

    def fused_shards(self) -> list[Shard]:
        """The lists of all targets."""
        return self._shards(FUSED, len(self.fusion.stored.targets.events), self._fuse)

    def refit_shards(self) -> list[Shard]:
        """Lists of test by the same gate, over members that were fitted on train and valid.

        LLMs stay as they are. The LLM's scores are of what refitted members propose: an item that they rank first and
        that has no score is unlike all that the gate was fitted on.
        """
        return self._shards(REFIT, len(self.refit.targets.events), self._fuse_refit) if self.refit else []

    def _shards(self, name: str, n_targets: int, fuse: Callable[[int, int], pa.Table]) -> list[Shard]:
        return row_shards(self.work, n_targets, _SHARD, fuse, lambda first, end: f"{name} {first}-{end}")

    def _fuse(self, first: int, end: int) -> pa.Table:
        """The lists of the targets `first` to `end`, by the gates that rank each."""
        fusion, tables = self.fusion, []
        length = min(fusion.config.own.length, fusion.catalogue.n_items)
        for rows, lists in fusion.stored.blocks(np.arange(first, end), _BLOCK):
            block = fusion.stored.targets.take(rows)
            fused = {name: empty_lists(len(rows), length) for name in self.names}
            member_ranks = np.zeros((len(rows), min(length, _SHOWN), len(fusion.members)), dtype=np.int32)
            for mask, gates in self.ranked_by:
                places = np.flatnonzero(mask[rows])
                part = {name: own.take(places) for name, own in lists.items()}
                found, ranks = fusion.rank(gates, part, block.take(places))
                member_ranks[places] = ranks[:, :_SHOWN]
                for name, ranked in found.items():
                    fused[name].items[places], fused[name].scores[places] = ranked
            tables.append(_lists_together(fused, block, {_RANKS: list_column(member_ranks.reshape(len(rows), -1))}))
        return pa.concat_tables(tables)

    def _fuse_refit(self, first: int, end: int) -> pa.Table:
        """The same for the targets `first` to `end` of test, by refitted members."""
        assert self.refit
        stored, test, tables = self.fusion.stored, self.refit.targets, []
        test_rows = np.flatnonzero(stored.targets.is_in_split(Split.TEST))[first:end]
        measured = stored.blocks(test_rows, _BLOCK)
        refitted = self.refit.blocks(np.arange(first, end), _BLOCK)
        for (_, lists), (rows, refitted_lists) in zip(measured, refitted, strict=True):
            block = test.take(rows)
            fused, _ = self._refitted_fusion.rank({REFIT: self.gates.whole}, lists | refitted_lists, block)
            tables.append(_lists_together(fused, block))
        return pa.concat_tables(tables)

    @cached_property
    def _refitted_fusion(self) -> "Fusion":
        catalogue, _ = read_catalogue_as_train(self.ingest, WITH_VALID)
        by_time = self.fusion.stored.targets.histories.is_split_by_time()
        return replace(self.fusion, catalogue=catalogue, popularity=catalogue.popularity(recent=by_time))


def _lists_together(
    lists: Mapping[str, Ranked], targets: Targets, more: Mapping[str, pa.Array] | None = None
) -> pa.Table:
    """Several lists of the same targets as one table, beside `more` columns; `_lists_in` reads one of them."""
    columns: dict[str, pa.ChunkedArray] = {}
    for name, ranked in lists.items():
        table = lists_to_table(ranked, targets)
        columns |= {f"{column} {name}": table[column] for column in (C.ITEMS, C.SCORES)}
    return pa.table({**columns, **(more or {})})


def _lists_in(table: pa.Table, name: str) -> Ranked:
    columns = {f"{column} {name}": column for column in (C.ITEMS, C.SCORES)}
    return lists_from_table(table.select(list(columns)).rename_columns(list(columns.values())))


def _blocks(tables: Iterable[pa.Table]) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """The rows of all tables, one below the other, in blocks as they were fused: row numbers, and the part."""
    n_read = 0
    for table in tables:
        for start in range(0, len(table), _BLOCK):
            block = table.slice(start, _BLOCK)
            yield np.arange(n_read, n_read + len(block)), block
            n_read += len(block)


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

    @property
    def members(self) -> tuple[str, ...]:
        """Whose lists are fused, those of LLMs first."""
        return tuple(name for name in self.stored.sources if name != SCORES)

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
