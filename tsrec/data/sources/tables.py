"""Any CSV, TSV, JSON-lines or Parquet tables, with a column mapping where names differ."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import find_file, read_batches, require_columns
from tsrec.errors import ConfigError

_ITEM_COLUMNS = (C.ITEM, C.TITLE, C.DESCRIPTION, C.BRAND, C.CATEGORIES)
_EVENT_COLUMNS = (C.USER, C.ITEM, C.TIMESTAMP, "rating", C.SPLIT)


def folder(config: IngestConfig) -> Path:
    """The folder of the raw files. Raises ConfigError where none is set."""
    if config.path is None:
        raise ConfigError(f"ingest.path: source {config.source!r} needs the folder of the raw files")
    return Path(config.path).expanduser()


def files(config: IngestConfig) -> tuple[Path, Path]:
    """`items.*` and `interactions.*` within the folder, or as configured."""
    return (
        find_file(folder(config), ("items",), config.items_file, "items_file"),
        find_file(folder(config), ("interactions",), config.interactions_file, "interactions_file"),
    )


def items(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of items."""
    mapping = {name: config.item_columns.get(name, name) for name in _ITEM_COLUMNS}
    needed = [C.ITEM, C.TITLE, *config.item_columns]
    for batch in read_batches(path):
        require_columns(batch, {name: mapping[name] for name in needed}, path)
        yield _renamed(batch, mapping)


def interactions(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of interactions."""
    mapping = {name: config.interaction_columns.get(name, name) for name in _EVENT_COLUMNS}
    needed = [C.USER, C.ITEM, C.TIMESTAMP, *config.interaction_columns]
    needed += [C.SPLIT] if config.split == "column" else []
    needed += ["rating"] if config.min_rating is not None else []
    for batch in read_batches(path):
        require_columns(batch, {name: mapping[name] for name in needed}, path)
        yield _renamed(batch, mapping)


def _renamed(batch: pd.DataFrame, mapping: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({ours: batch[theirs] for ours, theirs in mapping.items() if theirs in batch.columns})
