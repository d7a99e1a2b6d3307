"""Any CSV, TSV, JSON or Parquet tables, with a column mapping where names differ. What other sources are made of:
they know their files' names and columns beforehand."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.event_types import EventTypeFilter
from tsrec.data.files import Batch, RawFile, first_rows, is_separated, named_columns, read_batches
from tsrec.data.ids import ids_as_text
from tsrec.data.missing_values import is_missing_value
from tsrec.data.nested import dotted_names, explode_nested, with_parents
from tsrec.data.raw_files import Role, find_both
from tsrec.errors import DataError

Names = Mapping[str, tuple[str, ...]]  # ours -> theirs, the preferred one first

EVENT_COLUMNS = {name: (name,) for name in (C.USER, C.ITEM, C.TIMESTAMP, C.RATING, C.SPLIT)}
_ITEM_COLUMNS = {name: (name,) for name in (C.ITEM, C.TITLE, C.DESCRIPTION, C.BRAND, C.CATEGORIES)}
_WITH_COMMAS = r"\s*[+-]?(\d{1,3}(\.\d{3})+|\d*)(,\d*)?([eE][+-]?\d+)?\s*"  # 1.234,5; 1234,5; 1,5E+09
_SPLIT_FILES = tuple(f"{word}{rest}" for word in ("train", "valid*", "val", "dev", "test") for rest in (".*", "[_-]*"))


@dataclass(frozen=True)
class Source:
    """`files` says which raw files are read (items, interactions), all of them and in order; the other two read them.
    Of an item that stands there more than once the last row counts. Where `repeats_items`, the raw data is known to
    list items so, and the first row counts."""

    files: Callable[[IngestConfig], tuple[tuple[RawFile, ...], tuple[RawFile, ...]]]
    items: Callable[[IngestConfig, Sequence[RawFile]], Iterator[Batch]]
    interactions: Callable[[IngestConfig, Sequence[RawFile]], Iterator[Batch]]
    repeats_items: bool = False


def table_source(
    item_files: Sequence[tuple[str, ...]],
    event_files: Sequence[tuple[str, ...]],
    item_columns: Names,
    event_columns: Names,
) -> Source:
    """Tables whose files (patterns, as `find_both` has them) and columns are known, where the settings say no more."""
    return Source(
        files=lambda config: find_both(config, item_files, event_files),
        items=lambda config, files: _read_items(config, files, item_columns),
        interactions=lambda config, files: _read_interactions(config, files, event_columns),
    )


def _read_items(config: IngestConfig, files: Sequence[RawFile], known: Names) -> Iterator[Batch]:
    """Batches of items under our column names; `ingest.item_columns` goes before the `known` names. Where the files are
    the log of interactions, one batch of what it says of each item."""
    mapping = config.item_columns.renamed()
    if not files[0].is_log:
        yield from _mapped(config, "items", files, known, mapping, (C.ITEM, C.TITLE))
        return
    mapping = {C.ITEM: config.interaction_columns.item_id or C.ITEM, **mapping}
    yield from _newest_texts(_mapped(config, "interactions", files, known, mapping, (C.ITEM, C.TITLE), of_items=True))


def _newest_texts(batches: Iterable[Batch]) -> Iterator[Batch]:
    """One batch with a row for each item of the log, in order of appearance: of every column the last value that is not
    missing. Rows without an id are passed over."""
    first: Batch | None = None
    items = pd.DataFrame()
    for batch in batches:
        first = first or batch
        rows = batch.rows[~is_missing_value(batch.rows[C.ITEM])].reset_index(drop=True)
        if len(rows):
            ids, _ = ids_as_text(rows.pop(C.ITEM), batch.path)
            texts = rows.astype(object).mask(rows.apply(is_missing_value)).assign(**{C.ITEM: ids})
            items = _last_of_each(pd.concat([items, _last_of_each(texts)]))
    if first is not None:
        yield replace(first, rows=items, first_row=1)


def _last_of_each(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.groupby(C.ITEM, sort=False, as_index=False).last()


def _read_interactions(config: IngestConfig, files: Sequence[RawFile], known: Names) -> Iterator[Batch]:
    """Batches of interactions under our column names; `ingest.interaction_columns` goes before the `known` names.

    A split that a file's name gives is added where the file has no such column; so are row numbers as timestamps
    where `ingest.order` asks for them.

    Raises:
        DataError: a column is missing, or a time is not of `ingest.time_format`; names its row.
    """
    needed = (C.USER, C.ITEM) if config.order == "rows" else (C.USER, C.ITEM, C.TIMESTAMP)
    splits = {file.path: file.split for file in files}
    has_decimal_commas = config.interactions_format.decimal == ","
    n_rows = 0
    for batch in _mapped(config, "interactions", files, known, config.interaction_columns.renamed(), needed):
        rows = batch.rows
        for column in {C.TIMESTAMP, C.ORDER, C.RATING} & set(rows) if has_decimal_commas else ():
            rows[column] = _with_decimal_points(rows[column])
        if config.order == "rows":
            rows[C.TIMESTAMP] = np.arange(n_rows, n_rows + len(rows))
        elif config.time_format:
            rows[C.TIMESTAMP] = _times_by_format(rows[C.TIMESTAMP], config.time_format, batch)
        if C.SPLIT not in rows and splits[batch.path]:
            rows[C.SPLIT] = splits[batch.path]
        n_rows += len(rows)
        yield batch


def _mapped(
    config: IngestConfig,
    role: Role,
    files: Sequence[RawFile],
    known: Names,
    mapping: Mapping[str, str],
    needed: tuple[str, ...],
    of_items: bool = False,
) -> Iterator[Batch]:
    """Batches under our names, of files of the role: `of_items` what interactions say of items."""
    event_types = EventTypeFilter(config.keep) if config.keep and role == "interactions" else None
    names = {**known, **{ours: (theirs,) for ours, theirs in mapping.items()}}
    wanted = {theirs for candidates in names.values() for theirs in candidates}
    wanted.update(event_types.columns if event_types else ())
    section, form = f"ingest.{role}_format", config.items_format if role == "items" else config.interactions_format
    hint = f"map it in ingest.{'item' if role == 'items' or of_items else 'interaction'}_columns"
    if of_items:
        hint += ", or name a file of items in ingest.items_file: without one, items are taken out of the interactions"
    if C.TIMESTAMP in needed:
        hint += "; where there are no times, set ingest.order=rows"
    no_header = f"; where the file has no header line, name its columns in {section}.column_names"
    expected: tuple[str, ...] = (*needed, *mapping)  # a mapped column has to exist, but JSON may leave it out later on
    n_kept = 0
    for raw in read_batches(files, form, with_parents(wanted), section):
        batch = explode_nested(raw, wanted, names[C.ITEM])
        try:
            if event_types:
                batch = _keep_event_types(batch, event_types, needed=expected is not needed)
            rows = named_columns(batch, names, expected, hint + no_header * is_separated(batch.path))
        except DataError as error:
            rows = first_rows(batch, form, section)
            inside = ", ".join(dotted_names(rows))
            holds = f"; its lists and objects hold {inside}" if inside else ""
            below = _header_below(rows, names, expected) if is_separated(batch.path) else ""
            raise DataError(f"{error}{holds}{below}") from None
        n_kept += len(rows)
        yield replace(batch, rows=rows)
        expected = needed
    if event_types and not n_kept and expected is needed:
        why = "; ".join(event_types.values_not_found()) or "no row has one of the values of every column"
        raise DataError(f"{files[0].path}: ingest.keep leaves no interaction: {why}")


def _header_below(rows: pd.DataFrame, names: Names, expected: tuple[str, ...]) -> str:
    """What to do where one of the first rows reads like the header; else nothing."""
    headers = {name for ours in expected for name in names[ours]}
    found = rows.isin(headers).sum(axis=1).to_numpy() >= min(2, rows.shape[1])  # those above often name one column
    if not found.any():
        return ""
    return f"; its row {int(np.argmax(found)) + 1} reads like the header: take out what stands above it"


def _keep_event_types(batch: Batch, event_types: EventTypeFilter, needed: bool) -> Batch:
    """The rows of the kinds that are kept; a column that is not `needed` may be missing."""
    columns = {f"ingest.keep.{column}": (column,) for column in event_types.columns}
    named_columns(batch, columns, columns if needed else (), "name one of these in ingest.keep")
    kept = event_types.keeps(batch.rows.reindex(columns=list(event_types.columns)))
    return replace(batch, rows=batch.rows[kept], event_types=event_types, n_left_out=int((~kept).sum()))


def _with_decimal_points(values: pd.Series) -> pd.Series:
    """Numbers that are written 1.234,5 as 1234.5; whatever else stands as it is."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return values
    texts = values.astype("str")
    has_comma = texts.str.fullmatch(_WITH_COMMAS, na=False)
    points = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    return values.where(~has_comma, points)


def _times_by_format(values: pd.Series, time_format: str, batch: Batch) -> pd.Series:
    moments = pd.to_datetime(values, format=time_format, utc=True, errors="coerce")
    bad = moments.isna().to_numpy() & ~is_missing_value(values)
    batch.refuse(values, bad, f"written as ingest.time_format={time_format!r} says")
    return moments


# Files, part files or folders.
SOURCE = table_source(
    item_files=[("items.*", "items", "items[_-]*")],
    event_files=[("interactions.*", "interactions", "interactions[_-]*"), _SPLIT_FILES],
    item_columns=_ITEM_COLUMNS,
    event_columns=EVENT_COLUMNS,
)
