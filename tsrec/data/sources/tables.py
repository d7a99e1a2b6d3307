"""Any CSV, TSV, JSON-lines or Parquet tables, with a column mapping where names differ."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import find_file, named_columns, read_batches

_ITEM_COLUMNS = (C.ITEM, C.TITLE, C.DESCRIPTION, C.BRAND, C.CATEGORIES)
_EVENT_COLUMNS = (C.USER, C.ITEM, C.TIMESTAMP, "rating", C.SPLIT)


def files(config: IngestConfig) -> tuple[Path, Path]:
    """`items.*` and `interactions.*` within the folder, or as configured."""
    return (
        find_file(config, "items_file", ("items.*",)),
        find_file(config, "interactions_file", ("interactions.*",)),
    )


def items(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of items."""
    return _mapped(path, _ITEM_COLUMNS, (C.ITEM, C.TITLE), config.item_columns, "ingest.item_columns")


def interactions(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of interactions."""
    needed = (C.USER, C.ITEM, C.TIMESTAMP)
    return _mapped(path, _EVENT_COLUMNS, needed, config.interaction_columns, "ingest.interaction_columns")


def _mapped(
    path: Path, columns: tuple[str, ...], needed: tuple[str, ...], mapping: Mapping[str, str], field: str
) -> Iterator[pd.DataFrame]:
    names = {name: (mapping.get(name, name),) for name in columns}
    expected = (*needed, *mapping)  # a mapped column has to exist, but JSON lines may leave it out later on
    for batch in read_batches(path):
        yield named_columns(batch, names, expected, path, hint=f"map it in {field}")
        expected = needed
