"""Shards of a stage: pieces of its work that outlive a kill, so that the stage resumes at the first missing one.

A shard is a table in the stage's work folder, checked by its seal before it is reused (`work_files`). Other processes
may make shards beforehand, in any order: that saves time and changes nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from tsrec.machine.progress import progress
from tsrec.store.work_files import kept_table


@dataclass(frozen=True)
class Shard:
    """One piece: its Parquet file, whose name says all that it depends on, what makes it, and its `n` units of work."""

    path: Path
    make: Callable[[], pa.Table]
    n: int

    def table(self) -> pa.Table:
        """The table that was kept, or, where there is none that is whole, a newly made one."""
        return kept_table(self.path, self.make)


def row_shards(
    work: Path, n_rows: int, size: int, make: Callable[[int, int], pa.Table], name: Callable[[int, int], str]
) -> list[Shard]:
    """Shards of `size` rows each, in the folder `work`; units of work are rows.

    Args:
        work: the stage's work folder.
        n_rows: how many rows there are.
        size: rows of a shard.
        make: the table of the rows from the first number to before the second.
        name: of the file of these rows, without its suffix.
    """
    ends = [(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]
    return [Shard(work / f"{name(*rows)}.parquet", partial(make, *rows), rows[1] - rows[0]) for rows in ends]


def tables_of(shards: Sequence[Shard], desc: str, unit: str) -> list[pa.Table]:
    """All tables, those that are missing made now, behind a progress bar."""
    return list(iter_tables(shards, desc, unit))


def iter_tables(shards: Sequence[Shard], desc: str, unit: str) -> Iterator[pa.Table]:
    """The same one by one, for tables that do not fit in memory together."""
    with progress(desc=desc, total=sum(shard.n for shard in shards), unit=unit) as bar:
        for shard in shards:
            yield shard.table()
            bar.update(shard.n)
