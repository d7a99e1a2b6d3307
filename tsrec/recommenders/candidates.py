"""Candidates: each member's ranked lists for the targets of valid and test. The fusion is fitted on them.

There is one table for each member. Its rows are the targets, in one order for all members; its columns are `split`,
`user_id`, `position`, `items` and `scores`. `items` (list<int32>) are row numbers of the items table, best first.
`scores` (list<float32>) are -inf where popularity filled the list up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tsrec.columns import Columns as C
from tsrec.config import RecommendConfig
from tsrec.errors import ArtifactError
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.member import Member
from tsrec.recommenders.ranking import NO_ITEM, Filter, Ranked, empty_lists, fill_with_popular
from tsrec.recommenders.targets import Targets
from tsrec.store import Artifact, ArtifactWriter
from tsrec.store.parquet_file import open_parquet
from tsrec.store.shards import Shard, iter_tables, row_shards

_ROW_GROUP = 1_024  # rows; a reader keeps one or two row groups in memory
_BLOCK = 512  # targets whose lists are in memory at once


def write_candidates(out: ArtifactWriter, shards: Sequence[Shard], name: str) -> None:
    """Write one member's candidates as the table `name`; memory holds a few shards of them."""
    with closing(BlockWriter(out, name)) as writer:
        for table in iter_tables(shards, f"ranking by {name}", "target"):
            writer.write(table)


class BlockWriter:
    """Writes a table in blocks; memory holds one row group. It is complete once it is closed (`contextlib.closing`)."""

    def __init__(self, out: ArtifactWriter, name: str) -> None:
        self._out, self._name = out, name
        self._blocks: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        if self._writer:
            self._writer.close()

    def write(self, block: pa.Table) -> None:
        """Append rows; all blocks have the same columns."""
        self._blocks.append(block.replace_schema_metadata(None))
        if sum(map(len, self._blocks)) >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._blocks:
            table = pa.concat_tables(self._blocks).combine_chunks()
            self._writer = self._writer or self._out.table_writer(self._name, table.schema)
            self._writer.write_table(table, _ROW_GROUP)
            self._blocks = []


@dataclass(frozen=True)
class StoredLists:
    """Several members' lists of the same T targets, on disk.

    `sources`: member -> the artifact, and the table of it that `lists_to_table` made of these targets.
    """

    targets: Targets
    sources: Mapping[str, tuple[Artifact, str]]

    def blocks(self, rows: np.ndarray, size: int = _BLOCK) -> Iterator[tuple[np.ndarray, dict[str, Ranked]]]:
        """The lists of the targets `rows` (ascending), block by block: each block's rows, and member -> its lists.

        Nothing is read of the targets before the first.

        Args:
            rows: numbers of targets.
            size: targets of a block.

        Raises:
            ArtifactError: a table is of other targets.
        """
        n_read = int(rows[0]) if len(rows) else 0
        tables = {name: _RowReader(*source, len(self.targets.events), n_read) for name, source in self.sources.items()}
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            positions = self.targets.take(np.arange(n_read, block[-1] + 1)).positions
            lists = {name: lists_from_table(table.read(positions)) for name, table in tables.items()}
            yield block, {name: ranked.take(block - n_read) for name, ranked in lists.items()}
            n_read = int(block[-1]) + 1

    def read(self, rows: np.ndarray) -> dict[str, Ranked]:
        """Member -> its lists of the targets `rows` (ascending), in memory."""
        blocks = [lists for _, lists in self.blocks(rows)]
        return {name: concatenate_lists([lists.pop(name) for lists in blocks]) for name in self.sources}


class _RowReader:
    """Reads lists of a table from row `start` on, and checks that they are of the targets that are asked for."""

    def __init__(self, artifact: Artifact, name: str, n_targets: int, start: int) -> None:
        self._artifact, self._name = artifact, name
        parquet = open_parquet(artifact.file(f"{name}.parquet"))
        metadata = parquet.metadata
        if metadata.num_rows != n_targets:
            raise self._other_targets()
        ends = np.cumsum([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)])
        first = int(np.searchsorted(ends, start, side="right"))  # the row group that holds row `start`
        groups = list(range(first, len(ends)))
        self._batches = parquet.iter_batches(_BLOCK, row_groups=groups, columns=[C.POSITION, C.ITEMS, C.SCORES])
        self._unread: list[pa.RecordBatch] = []
        if n_before := start - int(ends[first - 1]) if first else start:
            self._take(n_before)

    def read(self, positions: np.ndarray) -> pa.Table:
        """The next rows, which are of targets at these `positions` (B,)."""
        table = self._take(len(positions))
        if not np.array_equal(table[C.POSITION].to_numpy(), positions):
            raise self._other_targets()
        return table

    def _take(self, n_rows: int) -> pa.Table:
        while sum(batch.num_rows for batch in self._unread) < n_rows:
            self._unread.append(next(self._batches))
        table = pa.Table.from_batches(self._unread)
        self._unread = table.slice(n_rows).to_batches()
        return table.slice(0, n_rows)

    def _other_targets(self) -> ArtifactError:
        place = self._artifact.path
        return ArtifactError(f"{place}: {self._name} ranks other targets than ingest has; run the pipeline again")


def concatenate_lists(blocks: Sequence[Ranked]) -> Ranked:
    """The lists of all `blocks`, one below the other."""
    width = max((block.items.shape[1] for block in blocks), default=1)
    ranked = empty_lists(sum(len(block.items) for block in blocks), width)
    start = 0
    for items, scores in blocks:
        ranked.items[start : start + len(items), : items.shape[1]] = items
        ranked.scores[start : start + len(items), : items.shape[1]] = scores
        start += len(items)
    return ranked


def target_shards(
    open_member: Callable[[], Member],
    name: str,
    catalogue: Catalogue,
    targets: Targets,
    rules: RecommendConfig,
    work: Path,
    *,
    batch: int = 256,
    shard: int = 4096,
) -> list[Shard]:
    """One member's candidates in shards of `shard` targets, ranked `batch` at a time; finished ones stay in `work`.

    `open_member` is called for every shard that is made.
    """
    popularity, width = catalogue.by_popularity(), min(rules.n_candidates, catalogue.n_items)

    def rank(first: int, end: int) -> pa.Table:
        member, some = open_member(), targets.take(np.arange(first, end))
        pasts = some.pasts()
        order = np.argsort([len(past) for past in pasts], kind="stable")  # prompts of like length together
        lists = Ranked(np.empty((len(pasts), width), np.int32), np.empty((len(pasts), width), np.float32))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            batch_pasts = [pasts[row] for row in rows]
            allow = repeats_filter(batch_pasts, catalogue.n_items, rules)
            ranked = member.rank(batch_pasts, width, allow)
            lists.items[rows], lists.scores[rows] = fill_with_popular(ranked, popularity, allow)
        return lists_to_table(lists, some)

    return row_shards(work, len(targets.events), shard, rank, shard_name(name, batch))


def shard_name(name: str, batch: int) -> Callable[[int, int], str]:
    """How the files of a member's shards are called.

    Other batches may give other last bits, so shards of another batch size are not mixed in.
    """
    return lambda first, end: f"{name} {first}-{end - 1}-{batch}"


def read_candidates(
    artifact: Artifact, name: str, targets: Targets, rows: np.ndarray | None = None, k: int | None = None
) -> Ranked:
    """Read the (T, K) lists of the table `name`, which `lists_to_table` made.

    Args:
        artifact: whose table it is.
        name: of the table.
        targets: those that the table has lists of.
        rows: (R,) ascending, the targets whose lists are wanted; all without it.
        k: items of each list that are wanted; all without it. Memory holds no others.

    Raises:
        ArtifactError: the table is of other targets.
    """
    rows = np.arange(len(targets.events)) if rows is None else rows
    blocks = StoredLists(targets, {name: (artifact, name)}).blocks(rows)
    return concatenate_lists([Ranked(*(part[:, :k].copy() for part in lists[name])) for _, lists in blocks])


def lists_from_table(table: pa.Table) -> Ranked:
    """(T, K) lists from a table that `lists_to_table` made; K is the longest."""
    lengths = table[C.ITEMS].combine_chunks().value_lengths().to_numpy()
    width = int(lengths.max(initial=1))
    items = np.full((len(table), width), NO_ITEM, dtype=np.int32)
    scores = np.full((len(table), width), -np.inf, dtype=np.float32)
    is_listed = np.arange(width) < lengths[:, None]
    items[is_listed] = table[C.ITEMS].combine_chunks().flatten().to_numpy()
    scores[is_listed] = table[C.SCORES].combine_chunks().flatten().to_numpy()
    return Ranked(items, scores)


def stored_lists(artifact: Artifact) -> list[str]:
    """Names of the lists that an artifact holds, in alphabetical order."""
    files = (Path(name) for name in artifact.manifest.files)
    return sorted(path.stem for path in files if path.suffix == ".parquet")


def repeats_filter(pasts: list[np.ndarray], n_items: int, rules: RecommendConfig) -> Filter:
    """The filter that blocks each history's own items, where the rules forbid repeats."""
    return Filter(n_items, pasts if rules.repeats == "forbidden" else None)


def lists_to_table(ranked: Ranked, targets: Targets) -> pa.Table:
    """(T, K) lists of the T targets as a table that `read_candidates` reads."""
    histories = targets.histories
    is_listed = ranked.items >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(is_listed.sum(axis=1))]).astype(np.int32))
    return pa.table(
        {
            C.SPLIT: pa.array(histories.splits[targets.events]),
            C.USER: pa.array(histories.user_ids[targets.users]),
            C.POSITION: pa.array(targets.positions.astype(np.int32)),
            C.ITEMS: pa.ListArray.from_arrays(offsets, pa.array(ranked.items[is_listed])),
            C.SCORES: pa.ListArray.from_arrays(offsets, pa.array(ranked.scores[is_listed])),
        }
    )
