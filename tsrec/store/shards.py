"""A stage's work in pieces: each outlives a kill, and may be made beforehand by another process.

A shard is a table in the stage's work folder. The stage makes what is missing, one after the other; whoever makes some
of them first, in whatever order, saves it that time and changes nothing else.
"""

from collections.abc import Callable, Sequence
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
    tables = []
    with progress(desc=desc, total=sum(shard.n for shard in shards), unit=unit) as bar:
        for shard in shards:
            tables.append(shard.table())
            bar.update(shard.n)
    return tables
