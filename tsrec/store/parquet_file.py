"""Parquet files that are read part by part."""

from pathlib import Path

import pyarrow.parquet as pq

_BUFFER_BYTES = 2**20  # of each column


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file for `iter_batches`, which then holds little more than a batch of it.

    By default Arrow reads ahead, and keeps all that it has read until the end: the whole file.

    Raises:
        pyarrow.ArrowException, OSError: it cannot be read.
    """
    return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
