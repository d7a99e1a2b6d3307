"""Amazon reviews as published in 2014, 2018 and 2023: reviews and metadata as JSON lines, gzipped or not, or as the
Parquet files of 2023."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import Batch
from tsrec.data.raw_files import RawFile, find_files
from tsrec.data.sources.tables import read_interactions, read_items

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
    C.RATING: ("rating", "overall"),
}


def files(config: IngestConfig) -> tuple[tuple[RawFile, ...], tuple[RawFile, ...]]:
    """The metadata (`meta*`, `raw_meta*`) and the reviews beside it, or as configured."""
    meta = find_files(config, "items", [("meta*", "raw_meta*")])
    reviews = [("raw_review*",), ("*.json*", "*.parquet", "*.csv*")]
    return meta, find_files(config, "interactions", reviews, taken=meta)


def items(config: IngestConfig, files: Sequence[RawFile]) -> Iterator[Batch]:
    """Batches of items; some come more than once. Categories become paths."""
    for batch in read_items(config, files, _META):
        rows = batch.rows
        if C.CATEGORIES in rows:
            rows = rows.assign(**{C.CATEGORIES: rows[C.CATEGORIES].map(_paths)})
        yield replace(batch, rows=rows)


def interactions(config: IngestConfig, files: Sequence[RawFile]) -> Iterator[Batch]:
    """Batches of reviews."""
    return read_interactions(config, files, _REVIEW)


def _paths(value: Any) -> Any:
    """A list of paths from wide to narrow, as 2014 has it; 2018 and 2023 have one path."""
    return [value] if isinstance(value, list) and not any(isinstance(part, list) for part in value) else value
