"""MovieLens as GroupLens publishes it: 100K (`u.item`, `u.data`), 1M and 10M (`movies.dat`, `ratings.dat`), 20M and
newer (`movies.csv`, `ratings.csv`). How a file is written is read off its first line, for people convert them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig, TableFormat
from tsrec.data.compressed_files import PACKED, open_bytes, unpacking
from tsrec.data.files import Batch, RawFile, named_columns, read_batches
from tsrec.data.format_hints import likely_encoding, undecodable_line
from tsrec.data.raw_files import find_both
from tsrec.data.sources.tables import Source
from tsrec.errors import DataError

# The columns of files without a header, by their separator.
_GENRE_NAMES = (
    "Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical Mystery "
    "Romance Sci-Fi Thriller War Western"
)
_GENRES = tuple(_GENRE_NAMES.split())
_FILMS = {
    "::": ("movieId", "title", "genres"),
    "|": ("movieId", "title", "released", "video", "url", "unknown", *_GENRES),
}
_RATINGS = ("userId", "movieId", "rating", "timestamp")
_EVENT = {C.USER: ("userId",), C.ITEM: ("movieId",), C.TIMESTAMP: ("timestamp",), C.RATING: ("rating",)}
_NO_GENRES = "(no genres listed)"
_HINT = "is this MovieLens' file?"


def _files(config: IngestConfig) -> tuple[tuple[RawFile, ...], tuple[RawFile, ...]]:
    """The films and the ratings within the folder, or as configured."""
    return find_both(config, [_called("movies"), ("u.item",)], [_called("ratings"), ("u.data",)])


def _called(name: str) -> tuple[str, ...]:
    return (f"{name}.dat", f"{name}.csv", *(f"{name}.*{suffix}" for suffix in PACKED), f"{name}.zip")


def _items(config: IngestConfig, files: Sequence[RawFile]) -> Iterator[Batch]:
    """Films; genres are their categories."""
    for file in files:
        form = _format(file.path, _FILMS)
        wanted = ("movieId", "title", "genres", *_GENRES)
        for batch in read_batches([file], form, wanted, "ingest.items_format"):
            film = named_columns(batch, {C.ITEM: ("movieId",), C.TITLE: ("title",)}, (C.ITEM, C.TITLE), _HINT)
            yield replace(batch, rows=film.assign(**{C.CATEGORIES: _categories(batch.rows)}))


def _interactions(config: IngestConfig, files: Sequence[RawFile]) -> Iterator[Batch]:
    """Batches of ratings."""
    for file in files:
        form = _format(file.path, {"::": _RATINGS, "\t": _RATINGS})
        for batch in read_batches([file], form, _RATINGS, "ingest.interactions_format"):
            yield replace(batch, rows=named_columns(batch, _EVENT, (C.USER, C.ITEM, C.TIMESTAMP), _HINT))


def _categories(films: pd.DataFrame) -> pd.Series:
    if "genres" in films:
        return films["genres"].where(films["genres"] != _NO_GENRES, "").str.replace("|", ", ")
    flags = films.reindex(columns=_GENRES) == "1"
    return pd.Series([", ".join(flags.columns[row]) for row in flags.to_numpy()], index=films.index)


def _format(path: Path, headerless: dict[str, tuple[str, ...]]) -> TableFormat:
    with unpacking(path), open_bytes(path) as stream:
        first = stream.readline().decode("latin-1")
        # UTF-8 from 10M on, Latin-1 before.
        encoding = likely_encoding(path) if undecodable_line(path, "utf-8") else "utf-8"
    separator = max((*headerless, ","), key=first.count)
    if first.lower().removeprefix("ï»¿").startswith(("movieid", "userid")):
        return TableFormat(separator=separator, encoding=encoding)
    if separator not in headerless:
        raise DataError(f"{path}: line 1: {first.strip()!r} is no line of MovieLens; ingest.source=tables reads others")
    return TableFormat(separator=separator, encoding=encoding, column_names=headerless[separator], quoting="none")


SOURCE = Source(_files, _items, _interactions)
