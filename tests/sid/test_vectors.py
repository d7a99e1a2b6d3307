"""Matrices as columns of lists, whatever their size."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tsrec.sid import vectors
from tsrec.sid.vectors import list_column
from tsrec.store.work_files import write_parquet


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (7, 3), (7, 1), (4, 0)])
def test_a_list_for_each_row(shape: tuple[int, int]) -> None:
    rows = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    column = list_column(rows)
    assert column.num_chunks == 1 and column.type == pa.list_(pa.float32())
    assert column.to_pylist() == rows.tolist()


def test_more_values_than_32_bits_count_come_in_chunks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = np.arange(33, dtype=np.int16).reshape(11, 3)
    one = list_column(rows)
    monkeypatch.setattr(vectors, "_MOST_VALUES", 14)  # of the two billion that a real chunk holds
    several = list_column(rows)
    assert [len(chunk) for chunk in several.chunks] == [4, 4, 3]
    assert all(len(chunk.flatten()) <= 14 for chunk in several.chunks)
    write_parquet(pa.table({"codes": several}), tmp_path / "several.parquet")
    read = pq.read_table(tmp_path / "several.parquet")["codes"]
    assert read.to_pylist() == one.to_pylist() == rows.tolist() and read.type == one.type


def test_real_chunks_fit_their_offsets() -> None:
    n_rows = vectors._rows_at_once(384)
    assert n_rows * 384 < 2**31 <= (n_rows + 1) * 384
