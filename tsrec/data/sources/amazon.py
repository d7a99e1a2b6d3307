"""Amazon reviews as published in 2014, 2018 and 2023: JSON lines of reviews and of metadata, gzipped or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import find_file, named_columns, read_batches

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
_HINT = "is this Amazon's file?"


def files(config: IngestConfig) -> tuple[Path, Path]:
    """The metadata file (`meta*`) and the one of reviews beside it, or as configured."""
    meta = find_file(config, "items_file", ("meta*.json*",))
    return meta, find_file(config, "interactions_file", ("*.json*",), other_than=meta)


def items(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of items; some come more than once. Lists become strings."""
    for batch in read_batches(path, python_literals=True):
        named = named_columns(batch, _META, (C.ITEM, C.TITLE), path, _HINT)
        for name in named.columns.drop(C.ITEM):
            named[name] = named[name].map(_category_path if name == C.CATEGORIES else _sentences)
        yield named


def interactions(config: IngestConfig, path: Path) -> Iterator[pd.DataFrame]:
    """Batches of reviews."""
    for batch in read_batches(path, python_literals=True):
        yield named_columns(batch, _REVIEW, (C.USER, C.ITEM, C.TIMESTAMP), path, _HINT)


def _sentences(value: Any) -> Any:
    """A description, in 2018 and 2023 a list of paragraphs."""
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _category_path(value: Any) -> Any:
    """`A > B > C` of a list from wide to narrow; 2014 has a list of such lists."""
    if not isinstance(value, list):
        return value
    nested = any(isinstance(part, list) for part in value)
    return ("; " if nested else " > ").join(str(_category_path(part)) for part in value)
