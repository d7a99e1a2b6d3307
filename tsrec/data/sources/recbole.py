"""RecBole atomic files: tab-separated `.item` and `.inter`, headers like `item_id:token`."""

from collections.abc import Iterator, Sequence

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.compressed_files import PACKED
from tsrec.data.files import Batch
from tsrec.data.raw_files import RawFile, find_both
from tsrec.data.sources.tables import read_interactions, read_items

_ITEM_COLUMNS = {
    C.ITEM: (C.ITEM,),
    C.TITLE: ("title", "item_title", "movie_title", "item_name", "name"),
    C.DESCRIPTION: ("description",),
    C.BRAND: ("brand",),
    C.CATEGORIES: ("categories", "category", "class", "genre", "genres"),
}
_EVENT_COLUMNS = {name: (name,) for name in (C.USER, C.ITEM, C.TIMESTAMP, C.RATING, C.SPLIT)}


def files(config: IngestConfig) -> tuple[tuple[RawFile, ...], tuple[RawFile, ...]]:
    """The `.item` and `.inter` files within the folder (`.train.inter` ... are given splits), or as configured."""
    return find_both(config, [_ending(".item")], [_ending(".inter")])


def _ending(suffix: str) -> tuple[str, ...]:
    return (f"*{suffix}", *(f"*{suffix}{packed}" for packed in PACKED))


def items(config: IngestConfig, files: Sequence[RawFile]) -> Iterator[Batch]:
    """Batches of items."""
    return read_items(config, files, _ITEM_COLUMNS)


def interactions(config: IngestConfig, files: Sequence[RawFile]) -> Iterator[Batch]:
    """Batches of interactions."""
    return read_interactions(config, files, _EVENT_COLUMNS)
