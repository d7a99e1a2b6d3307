"""Shards of a stage: pieces of its work that outlive a kill, so that the stage resumes at the first missing one.

A shard is a table in the stage's work folder, checked by its seal before it is reused (`work_files`). Other processes
may make shards beforehand, in any order: that saves time and changes nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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


def tables_of(shards: Sequence[Shard], desc: str, unit: str) -> list[pa.Table]:
    """All tables, those that are missing made now, behind a progress bar."""
    return list(iter_tables(shards, desc, unit))


def iter_tables(shards: Sequence[Shard], desc: str, unit: str) -> Iterator[pa.Table]:
    """The same one by one, for tables that do not fit in memory together."""
    with progress(desc=desc, total=sum(shard.n for shard in shards), unit=unit) as bar:
        for shard in shards:
            yield shard.table()
            bar.update(shard.n)
