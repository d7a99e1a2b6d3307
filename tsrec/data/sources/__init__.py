"""Where raw data comes from. Each source names its files and yields batches in our own column names.

A batch of items has item_id, title and any of description, brand, categories; a batch of interactions has user_id,
item_id, timestamp and, where the data has them, rating and split. Values are still raw: cleaning comes after.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tsrec.config import IngestConfig
from tsrec.data.files import Batch
from tsrec.data.raw_files import RawFile
from tsrec.data.sources import amazon, grouplens, movielens, recbole, tables


@dataclass(frozen=True)
class Source:
    """`files` says which raw files are read (items, interactions), all of them and in order; the other two read them.
    Of an item that stands there more than once the last row counts. Where `repeats_items`, the raw data is known to
    list items so, and the first row counts."""

    files: Callable[[IngestConfig], tuple[tuple[RawFile, ...], tuple[RawFile, ...]]]
    items: Callable[[IngestConfig, Sequence[RawFile]], Iterator[Batch]]
    interactions: Callable[[IngestConfig, Sequence[RawFile]], Iterator[Batch]]
    repeats_items: bool = False


SOURCES: dict[str, Source] = {
    "movielens-100k": Source(movielens.files, movielens.items, recbole.interactions),
    "movielens": Source(grouplens.files, grouplens.items, grouplens.interactions),
    "amazon": Source(amazon.files, amazon.items, amazon.interactions, repeats_items=True),
    "recbole": Source(recbole.files, recbole.items, recbole.interactions),
    "tables": Source(tables.files, tables.items, tables.interactions),
}
