"""RecBole atomic files: tab-separated `.item` and `.inter`, headers like `item_id:token`."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import find_file, read_batches, require_columns
from tsrec.data.sources.tables import folder

_TITLES = ("title", "item_title", "movie_title", "name", "item_name")
_CATEGORIES = ("categories", "category", "class", "genre", "genres")


def files(config: IngestConfig) -> tuple[Path, Path]:
    """The `.item` and `.inter` file within the folder, or as configured."""
    return (
        find_file(folder(config), (".item",), config.items_file, "items_file"),
        find_file(folder(config), (".inter",), config.interactions_file, "interactions_file"),
    )


def items(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of items."""
    for batch in _batches(path):
        title = config.item_columns.get(C.TITLE) or next((n for n in _TITLES if n in batch), "title")
        require_columns(batch, {C.ITEM: C.ITEM, C.TITLE: title}, path)
        named = {C.ITEM: batch[C.ITEM], C.TITLE: batch[title]}
        category = config.item_columns.get(C.CATEGORIES) or next((n for n in _CATEGORIES if n in batch), None)
        if category:
            named[C.CATEGORIES] = batch[category]
        named |= {name: batch[name] for name in (C.DESCRIPTION, C.BRAND) if name in batch}
        yield pd.DataFrame(named)


def interactions(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of interactions."""
    for batch in _batches(path):
        require_columns(batch, {name: name for name in (C.USER, C.ITEM, C.TIMESTAMP)}, path)
        yield batch[[n for n in (C.USER, C.ITEM, C.TIMESTAMP, "rating", C.SPLIT) if n in batch]]


def _batches(path: Path) -> Iterator[pd.DataFrame]:
    for batch in read_batches(path):
        yield batch.rename(columns=lambda name: name.split(":")[0])
