"""Parquet files in batches: nested columns become Python lists and dicts, whole numbers stay whole."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

from tsrec.errors import DataError
from tsrec.store.parquet_file import open_parquet

_ROWS, _NESTED_ROWS = 200_000, 20_000  # a row may hold a list of a whole session


def read(path: Path, wanted: Collection[str]) -> Iterator[tuple[pd.DataFrame, tuple[str, ...]]]:
    """Yield batches of the wanted columns, and the names of all.

    Raises:
        DataError: the file is no Parquet, or cut off; or two columns have one wanted name.
    """
    try:
        with open_parquet(path) as parquet:
            names = tuple(parquet.schema_arrow.names)
            for name in wanted:
                if names.count(name) > 1:
                    raise DataError(f"{path}: two columns are called {name!r}; rename one")
            nested = any(field.name in wanted and pa.types.is_nested(field.type) for field in parquet.schema_arrow)
            n_rows = _NESTED_ROWS if nested else _ROWS
            for batch in parquet.iter_batches(n_rows, columns=[name for name in names if name in wanted]):
                columns = {name: _column(batch.column(name)) for name in batch.schema.names}
                yield pd.DataFrame(columns, index=pd.RangeIndex(batch.num_rows)), names
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}; fetch or write it again") from None


def _column(values: pa.Array) -> pd.Series:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_nested(values.type):
        return pd.Series(values.to_pylist(), dtype=object)
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    return values.to_pandas(integer_object_nulls=True)
