"""Candidates: each member's ranked lists for the targets of valid and test. The fusion is fitted on them.

There is one table for each member. Its rows are the targets, in one order for all members; its columns are `split`,
`user_id`, `position`, `items` and `scores`. `items` (list<int32>) are row numbers of the items table, best first.
`scores` (list<float32>) are -inf where popularity filled the list up.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import RecommendConfig
from tsrec.errors import ArtifactError
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.member import Member
from tsrec.recommenders.ranking import NO_ITEM, Filter, Ranked, fill_with_popular
from tsrec.recommenders.targets import Targets
from tsrec.store import Artifact
from tsrec.store.shards import Shard, tables_of


def candidates_table(shards: Sequence[Shard], name: str) -> pa.Table:
    """One member's candidates: all its `target_shards`, of which missing ones are made now."""
    return pa.concat_tables(tables_of(shards, f"ranking by {name}", "target"))


def target_shards(
    member: Member,
    name: str,
    catalogue: Catalogue,
    targets: Targets,
    rules: RecommendConfig,
    work: Path,
    *,
    batch: int = 256,
    shard: int = 4096,
) -> list[Shard]:
    """One member's candidates in shards of `shard` targets, ranked `batch` at a time; finished ones stay in `work`."""
    popularity = catalogue.by_popularity()
    shards = []
    for rows in _row_ranges(len(targets.events), shard):
        # Other batches may give other last bits, so shards of another batch size are not mixed in.
        path = work / f"{name} {rows[0]}-{rows[-1]}-{batch}.parquet"
        make = partial(_rank_shard, member, targets, rows, rules, catalogue, popularity, batch)
        shards.append(Shard(path, make, len(rows)))
    return shards


def read_candidates(artifact: Artifact, name: str, targets: Targets) -> Ranked:
    """Read the (T, K) lists of the table `name`, which `lists_to_table` made.

    Raises:
        ArtifactError: the table is of other targets.
    """
    table = artifact.table(name)
    positions = targets.histories.positions()[targets.events]
    if len(table) != len(positions) or not np.array_equal(table[C.POSITION].to_numpy(), positions):
        raise ArtifactError(f"{artifact.path}: {name} ranks other targets than ingest has; run the pipeline again")
    return lists_from_table(table)


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


def _row_ranges(n_rows: int, size: int) -> Iterator[np.ndarray]:
    for start in range(0, n_rows, size):
        yield np.arange(start, min(start + size, n_rows))


def _rank_shard(
    member: Member,
    targets: Targets,
    rows: np.ndarray,
    rules: RecommendConfig,
    catalogue: Catalogue,
    popularity: np.ndarray,
    batch: int,
) -> pa.Table:
    pasts = targets.pasts(rows)
    order = np.argsort([len(past) for past in pasts], kind="stable")  # prompts of like length together
    width = min(rules.n_candidates, catalogue.n_items)
    lists = Ranked(np.empty((len(rows), width), np.int32), np.empty((len(rows), width), np.float32))
    for start in range(0, len(order), batch):
        batch_rows = order[start : start + batch]
        batch_pasts = [pasts[row] for row in batch_rows]
        allow = repeats_filter(batch_pasts, catalogue.n_items, rules)
        ranked = member.rank(batch_pasts, width, allow)
        lists.items[batch_rows], lists.scores[batch_rows] = fill_with_popular(ranked, popularity, allow)
    return lists_to_table(lists, targets, rows)


def lists_to_table(ranked: Ranked, targets: Targets, rows: np.ndarray | None = None) -> pa.Table:
    """Lists as a table that `read_candidates` reads; they are of the targets `rows` (B,) (None: of all)."""
    rows = np.arange(len(targets.events)) if rows is None else rows
    histories, events = targets.histories, targets.events[rows]
    is_listed = ranked.items >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(is_listed.sum(axis=1))]).astype(np.int32))
    return pa.table(
        {
            C.SPLIT: pa.array(histories.splits[events]),
            C.USER: pa.array(histories.user_ids[targets.users[rows]]),
            C.POSITION: pa.array(histories.positions()[events].astype(np.int32)),
            C.ITEMS: pa.ListArray.from_arrays(offsets, pa.array(ranked.items[is_listed])),
            C.SCORES: pa.ListArray.from_arrays(offsets, pa.array(ranked.scores[is_listed])),
        }
    )
