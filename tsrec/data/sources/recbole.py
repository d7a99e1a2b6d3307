"""RecBole atomic files: tab-separated `.item` and `.inter`, headers like `item_id:token`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import find_file, named_columns, read_batches

_ITEM_COLUMNS = {
    C.ITEM: (C.ITEM,),
    C.TITLE: ("title", "item_title", "movie_title", "item_name", "name"),
    C.DESCRIPTION: ("description",),
    C.BRAND: ("brand",),
    C.CATEGORIES: ("categories", "category", "class", "genre", "genres"),
}
_EVENT_COLUMNS = {name: (name,) for name in (C.USER, C.ITEM, C.TIMESTAMP, "rating", C.SPLIT)}


def files(config: IngestConfig) -> tuple[Path, Path]:
    """The `.item` and `.inter` file within the folder, or as configured."""
    return (
        find_file(config, "items_file", ("*.item", "*.item.gz")),
        find_file(config, "interactions_file", ("*.inter", "*.inter.gz")),
    )


def items(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of items."""
    return _named(path, _ITEM_COLUMNS, (C.ITEM, C.TITLE), config.item_columns, "ingest.item_columns")


def interactions(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of interactions."""
    needed = (C.USER, C.ITEM, C.TIMESTAMP)
    return _named(path, _EVENT_COLUMNS, needed, config.interaction_columns, "ingest.interaction_columns")


def without_types(batch: pd.DataFrame) -> pd.DataFrame:
    """The batch with `item_id` for `item_id:token`, and so on."""
    return batch.rename(columns=lambda name: name.split(":")[0])


def _named(
    path: Path, known: Mapping[str, tuple[str, ...]], needed: tuple[str, ...], mapping: Mapping[str, str], field: str
) -> Iterator[pd.DataFrame]:
    names = {**known, **{ours: (theirs,) for ours, theirs in mapping.items()}}
    for batch in read_batches(path):
        yield named_columns(without_types(batch), names, (*needed, *mapping), path, hint=f"map it in {field}")
