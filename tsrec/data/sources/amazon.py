"""Amazon reviews as published in 2014, 2018 and 2023: JSON lines of reviews and of metadata, gzipped or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import find_file, read_batches
from tsrec.data.sources.tables import folder
from tsrec.errors import DataError

# ours -> theirs, newest first: 2023, then 2018 and 2014
_META = {
    C.ITEM: ("parent_asin", "asin"),
    C.TITLE: ("title",),
    C.DESCRIPTION: ("description",),
    C.BRAND: ("store", "brand"),
    C.CATEGORIES: ("categories", "category"),
}
_REVIEW = {
    C.USER: ("user_id", "reviewerID"),
    C.ITEM: ("parent_asin", "asin"),
    C.TIMESTAMP: ("timestamp", "unixReviewTime"),
    "rating": ("rating", "overall"),
}


def files(config: IngestConfig) -> tuple[Path, Path]:
    """The metadata file (`meta*`) and the other one, or as configured."""
    where = folder(config)
    meta = find_file(where, ("meta",), config.items_file, "items_file")
    if config.interactions_file is not None or not where.is_dir():
        return meta, find_file(where, ("",), config.interactions_file, "interactions_file")
    others = [p for p in sorted(where.iterdir()) if p != meta and p.is_file() and ".json" in p.name.lower()]
    if len(others) != 1:
        names = ", ".join(p.name for p in others) or "none"
        raise DataError(
            f"{where}: expected one file of reviews beside {meta.name}, found {names}; set ingest.interactions_file"
        )
    return meta, others[0]


def items(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of items. Amazon repeats some metadata lines; the first one of an item counts."""
    seen: set[str] = set()
    for batch in read_batches(path, lenient_json=True):
        named = _named(batch, _META, (C.ITEM, C.TITLE), path)
        fresh = ~named[C.ITEM].duplicated() & ~named[C.ITEM].isin(seen)
        seen.update(named[C.ITEM])
        yield named[fresh].map(_flat)


def interactions(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of reviews."""
    for batch in read_batches(path, lenient_json=True):
        yield _named(batch, _REVIEW, (C.USER, C.ITEM, C.TIMESTAMP), path)


def _named(batch: pd.DataFrame, names: dict[str, tuple[str, ...]], needed: tuple[str, ...], path: Path) -> pd.DataFrame:
    columns = {}
    for ours, candidates in names.items():
        theirs = next((name for name in candidates if name in batch.columns), None)
        if theirs is not None:
            columns[ours] = batch[theirs]
        elif ours in needed:
            raise DataError(f"{path}: no field {' or '.join(candidates)} (for {ours}); is this an Amazon review file?")
    return pd.DataFrame(columns)


def _flat(value: Any) -> Any:
    """Lists (descriptions) and lists of lists (2014's categories) as one string."""
    if isinstance(value, list):
        return " ".join(str(_flat(part)) for part in value)
    return value
