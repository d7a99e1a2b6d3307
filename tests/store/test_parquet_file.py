"""Reading a file part by part holds a part of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tsrec.store.parquet_file import open_parquet

N_GROUPS, ROWS = 40, 20_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 40 row groups of random numbers, which nothing compresses."""
    path, random = tmp_path_factory.mktemp("parquet") / "large.parquet", np.random.default_rng(1)
    with pq.ParquetWriter(path, pa.schema([("x", pa.float64())])) as writer:
        for _ in range(N_GROUPS):
            writer.write_table(pa.table({"x": random.random(ROWS)}))
    return path


def _most_bytes_held(path: Path, opened: Callable[[Path], pq.ParquetFile]) -> int:
    before = pa.total_allocated_bytes()
    return max(pa.total_allocated_bytes() - before for _ in opened(path).iter_batches(1_000))


def test_batches_hold_a_part_of_the_file(large: Path) -> None:
    size = large.stat().st_size
    assert _most_bytes_held(large, open_parquet) < 4 * size / N_GROUPS + 2**20
    assert _most_bytes_held(large, pq.ParquetFile) > size / 2, "Arrow no longer reads ahead: `open_parquet` may go"


def test_it_reads_what_was_written(large: Path) -> None:
    batches = list(open_parquet(large).iter_batches(1_000))
    assert pa.Table.from_batches(batches).equals(pq.read_table(large))
