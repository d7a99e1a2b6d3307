"""Amazon reviews as published in 2014, 2018 and 2023: reviews and metadata as JSON lines, gzipped or not, or as the
Parquet files of 2023."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import Batch, RawFile
from tsrec.data.sources.tables import table_source

_TABLES = table_source(
    item_files=[("meta*", "raw_meta*")],
    event_files=[("raw_review*",), ("*.json*", "*.parquet", "*.csv*")],
    # ours -> theirs, newest first: 2023, then 2018 and 2014
    item_columns={
        C.ITEM: ("parent_asin", "asin"),
        C.TITLE: ("title",),
        C.DESCRIPTION: ("description",),
        C.BRAND: ("store", "brand"),
        C.CATEGORIES: ("categories", "category"),
    },
    event_columns={
        C.USER: ("user_id", "reviewerID"),
        C.ITEM: ("parent_asin", "asin"),
        C.TIMESTAMP: ("timestamp", "unixReviewTime"),
        C.RATING: ("rating", "overall"),
    },
)


def _items(config: IngestConfig, files: Sequence[RawFile]) -> Iterator[Batch]:
    """Batches of items; some come more than once. Categories become paths."""
    for batch in _TABLES.items(config, files):
        if C.CATEGORIES in batch.rows:
            batch.rows[C.CATEGORIES] = batch.rows[C.CATEGORIES].map(_paths)
        yield batch


def _paths(value: Any) -> Any:
    """A list of paths from wide to narrow, as 2014 has it; 2018 and 2023 have one path."""
    return [value] if isinstance(value, list) and not any(isinstance(part, list) for part in value) else value


SOURCE = replace(_TABLES, items=_items, repeats_items=True)
