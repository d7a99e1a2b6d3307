"""The ingest stage: read, clean, filter, order, split, write; interactions in batches throughout."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec import permissions
from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.cleaning import clean_items
from tsrec.data.data_quality import DataQualityReport, explain_failed_join
from tsrec.data.events import SPLITS, EventReader, Events
from tsrec.data.files import RawFile, Tally
from tsrec.data.filtering import filter_events, k_core, overactive_users, renumber, without_users
from tsrec.data.ids import has_lost_digits, ids_as_text, invalid_ids
from tsrec.data.missing_values import is_missing_value
from tsrec.data.ordering import find_duplicates, find_ties, sort_by_user_and_time
from tsrec.data.raw_files import without_repeated_files
from tsrec.data.refresh_leakage import without_leaked_targets
from tsrec.data.sources import SOURCES
from tsrec.data.splitting import SPLITTERS, check_targets, count_targets
from tsrec.data.timestamps import ORDER
from tsrec.data.truncated_files import lacks_line_end
from tsrec.errors import DataError
from tsrec.machine.progress import progress
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactWriter, base_role
from tsrec.store.parquet_file import open_parquet

_ROWS = 1_000_000
_WARN_OF_TIES_ABOVE = 0.1  # of all interactions; in days, some fall together in any log
_KEEP_DIGITS = ", as spreadsheets write long numbers; save the file anew from where it came, its ids and times as text"
_IS_LOG = (
    "; where this is the log of interactions, name it in ingest.items_file and in ingest.interactions_file; where each "
    "row is one property of an item, write a row for each item"
)
_ROW_NUMBERS = (
    "interactions are split by the number of their row",
    "are they in order of time? where they stand user by user, set ingest.split=leave-one-out",
)
_NO_CLOCK = (
    "interactions are split by numbers that are no clock times, such as {}",
    "is it one clock for all users? where it starts anew with each user or session, set ingest.split=leave-one-out, or "
    "map a date as timestamp and this column as order in ingest.interaction_columns",
)
_KNOWN_TO_BASE = "n_held_out_events_known_to_base"
_SCHEMA = pa.schema(
    [
        (C.USER, pa.string()),
        (C.ITEM, pa.string()),
        (C.TIMESTAMP, pa.int64()),
        (C.POSITION, pa.int32()),
        (C.SPLIT, pa.string()),
    ]
)


def run(config: IngestConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `items` (in order of id), `interactions` (in order of user id and time) and what was lost.

    With a base, what its model has learned from is held out no more, though the splits say so.
    """
    item_files, found = SOURCES[config.source].files(config)
    quality = DataQualityReport(out, config.max_loss)
    event_files = _files_to_read(config, item_files, found, quality)
    items = _read_items(config, item_files, quality)
    reader = _read_events(config, item_files, event_files, pd.Index(items[C.ITEM]), quality)
    events, user_ids = _select(config, reader, quality)
    if not len(events):
        raise DataError(
            f"{_file_names(event_files)}: no interaction is left; see ingest.drop_users, since, until, min_rating, "
            f"min_user_events, min_item_events, and the {reader.n_unknown_items} of unknown items"
        )
    if config.min_item_events > 1:
        kept, item = renumber(events.item)
        quality.count(n_items_dropped_by_k_core=len(items) - len(kept))
        items, events = items.iloc[kept].reset_index(drop=True), replace(events, item=item)
    quality.count(n_items=len(items), n_users=len(user_ids), n_interactions=len(events))
    item_ids = pd.Index(items[C.ITEM])
    split = _split(config, events, user_ids, item_ids, parents.get(base_role("ingest")), quality)
    out.write_table("items", items)
    _write_interactions(events, split, item_ids, user_ids, out)
    quality.write()


def _files_to_read(
    config: IngestConfig, item_files: Sequence[RawFile], event_files: Sequence[RawFile], quality: DataQualityReport
) -> Sequence[RawFile]:
    """The files of interactions that are read; of what comes twice, and of what may be cut, word is given."""
    files = [*(file for file in item_files if not file.is_log), *event_files]
    cut = [file.path for file in files if lacks_line_end(file.path)]
    hint = f"e.g. {cut[0]}: its last row may be cut" if cut else ""
    quality.add(len(cut), len(files), "files stop within a line", count="n_files_without_line_end", hint=hint)
    read = without_repeated_files(event_files) if config.duplicates == "drop" else event_files
    what = "files have the bytes of another with interactions, and are skipped"
    quality.add(len(event_files) - len(read), len(event_files), what, count="n_files_repeated")
    return read


def _read_items(config: IngestConfig, files: Sequence[RawFile], quality: DataQualityReport) -> pd.DataFrame:
    source = SOURCES[config.source]
    frames: list[pd.DataFrame] = []
    counts, seen = Counter[str](), set[str]()  # `seen` in the file that is read
    nameless, rounded, repeated = Tally(), Tally(), Tally()
    n_rows = 0
    for batch in progress(source.items(config, files), desc="reading items", unit="batch"):
        if batch.first_row == 1:
            seen.clear()
        raw_ids = batch.rows[C.ITEM]
        has_none = is_missing_value(raw_ids)
        nameless.add(batch, raw_ids, has_none)
        rows = batch.rows[~has_none]
        batch.refuse(rows[C.ITEM], invalid_ids(rows[C.ITEM]), "an id")
        ids, n_escaped = ids_as_text(rows[C.ITEM], batch.path)
        rounded.add(batch, ids, has_lost_digits(ids))
        frame, done = clean_items(rows.assign(**{C.ITEM: ids}), config.text_fields, config.max_text_chars)
        repeated.add(batch, ids, (ids.duplicated() | ids.isin(seen)).to_numpy())
        frames.append(frame)
        seen.update(ids)
        n_rows += len(batch.rows)
        counts.update(done, n_item_ids_escaped=n_escaped)
    if not n_rows:
        raise DataError(f"{_file_names(files)}: the table holds no items")
    items = pd.concat(frames)
    counts_row: Literal["first", "last"] = "first" if source.repeats_items else "last"
    older = items[C.ITEM].duplicated(keep=counts_row).to_numpy()
    quality.count(**counts, n_repeated_items=int(older.sum()))
    what = "items have no id, and are left out"
    quality.add(nameless.n, n_rows, what, count="n_items_without_id", hint=nameless.example, stops=True)
    what, hint = "items have an id whose last digits are lost", rounded.example + _KEEP_DIGITS
    quality.add(rounded.n, n_rows, what, count="n_item_ids_with_lost_digits", hint=hint, stops=True)
    what = f"rows repeat an item of their file; of each item the {counts_row} row counts"
    hint = repeated.example + _IS_LOG * (2 * repeated.n > n_rows)
    quality.add(repeated.n, n_rows, what, hint=hint, stops=not source.repeats_items)
    hint = f"their id stands for it; see ingest.text_fields ({', '.join(config.text_fields)}) and item_columns"
    quality.add(counts["n_items_without_text"], n_rows, "items have no text", hint=hint, stops=True)
    quality.add(counts["n_texts_cut"], n_rows, "texts are cut", hint="see ingest.max_text_chars", wanted=True)
    return items[~older].sort_values(C.ITEM, kind="stable", ignore_index=True)


def _read_events(
    config: IngestConfig,
    item_files: Sequence[RawFile],
    files: Sequence[RawFile],
    item_ids: pd.Index,
    quality: DataQualityReport,
) -> EventReader:
    reader = EventReader(item_ids, needs_rating=config.min_rating is not None, needs_split=config.split == "column")
    batches = SOURCES[config.source].interactions(config, files)
    for batch in progress(batches, desc="reading interactions", unit="batch"):
        reader.read(batch)
    n_rows, n_read = reader.n_rows, reader.n_rows + reader.n_left_out
    if not n_read:
        raise DataError(f"{_file_names(files)}: the table holds no interactions")
    if reader.event_types:
        what = "interactions go by ingest.keep"
        quality.add(reader.n_left_out, n_read, what, count="n_dropped_by_keep", wanted=True)
        absent = reader.event_types.values_not_found()
        what = "values of ingest.keep stand nowhere"
        quality.add(len(absent), reader.event_types.n_values(), what, hint="; ".join(absent))
    quality.count(n_interactions_read=n_read, n_interaction_ids_escaped=reader.n_ids_escaped)
    what, hint = "interactions have an id or a time whose last digits are lost", reader.rounded_example + _KEEP_DIGITS
    quality.add(reader.n_rounded, n_rows, what, count="n_interactions_with_lost_digits", hint=hint, stops=True)
    lacking = {what: tally for what, tally in reader.incomplete.items() if tally.n}
    quality.count(**{f"n_interactions_without_{what}": tally.n for what, tally in reader.incomplete.items()})
    hint = ", ".join(f"{tally.n:,} without {what}, {tally.example}" for what, tally in lacking.items())
    hint += "; ingest.interaction_columns may name other columns"
    hint += "; where there are no times, set ingest.order=rows" * (2 * reader.incomplete["time"].n > n_rows)
    what = "interactions lack a user, item or time, and are left out"
    quality.add(sum(tally.n for tally in lacking.values()), n_rows, what, hint=hint, stops=True)
    unknown = reader.unknown_items
    hint = explain_failed_join(unknown, files[0].path, item_ids, item_files[0].path) if len(unknown) else ""
    what, name = "interactions name items that the catalogue lacks", "n_interactions_with_unknown_items"
    quality.add(reader.n_unknown_items, n_rows, what, count=name, hint=hint, stops=True)
    return reader


def _select(config: IngestConfig, reader: EventReader, quality: DataQualityReport) -> tuple[Events, pd.Index]:
    """Events that stay, in order; users that still have events, renumbered in order of their ids."""
    events, user_ids, clock, facts = reader.events()
    quality.count(**facts)
    n_before = len(events)
    events = without_users(events, user_ids, config.drop_users)
    what = "interactions go by ingest.drop_users"
    quality.add(n_before - len(events), n_before, what, count="n_dropped_by_user", wanted=True)
    absent = [user for user in config.drop_users if user not in user_ids]
    hint = f"e.g. {absent[0]!r}" if absent else ""
    quality.add(len(absent), len(config.drop_users), "ids in ingest.drop_users are no user's", hint=hint)
    n_before = len(events)
    odd = int(facts["n_times_outside_1990_to_2100"])
    quality.add(odd, n_before, f"timestamps (in {clock.unit}) lie outside 1990 to 2100", hint="missing ones?")
    events, counts = filter_events(events, clock, config)
    for name, settings in (("n_dropped_by_time", "since, until"), ("n_dropped_by_rating", "min_rating")):
        if name in counts:
            quality.add(counts[name], n_before, f"interactions go by ingest.{settings}", count=name, wanted=True)
    events, user_ids = sort_by_user_and_time(events, user_ids)
    twice = find_duplicates(events)
    n_twice, n_before = int(twice.sum()), len(events)
    quality.count(n_duplicates=n_twice)
    if config.duplicates == "drop":
        events = events.take(~twice)
        what = "interactions repeat user, item and time of another, and go"
        quality.add(n_twice, n_before, what, hint="ingest.duplicates=keep keeps them")
    for code, n_events, times_the_median in overactive_users(events):
        what = f"interactions are of one user, {user_ids[code]!r}, {times_the_median:,.0f} times the median's"
        hint = f"if it is nobody's id (guests, a default), ingest.drop_users=[{user_ids[code]!r}] leaves it out"
        quality.add(n_events, len(events), what, hint=hint)
    n_before, n_users = len(events), np.count_nonzero(np.bincount(events.user))
    events = k_core(events, config.min_user_events, config.min_item_events)
    present, user = renumber(events.user)
    quality.count(n_users_dropped_by_k_core=int(n_users - len(present)))
    what = "interactions have the same user and time as another before them, so that the order of the rows counts"
    hint = "where a column tells which came first, name it in ingest.interaction_columns.order"
    n_ties = int(find_ties(events).sum())
    quality.add(n_ties, len(events), what, count="n_ties", hint=hint, warn_above=_WARN_OF_TIES_ABOVE)
    if config.split == "time" and clock.unit == ORDER and len(events):
        example = f"{events.timestamp[0] / clock.steps_per_number:g}"
        what, hint = _ROW_NUMBERS if config.order == "rows" else _NO_CLOCK
        quality.add(len(events), len(events), what.format(example), hint=hint)
    what = "interactions go by ingest.min_user_events, min_item_events"
    quality.add(n_before - len(events), n_before, what, count="n_dropped_by_k_core", wanted=True)
    return replace(events, user=user), user_ids[present]


def _split(
    config: IngestConfig,
    events: Events,
    user_ids: pd.Index,
    item_ids: pd.Index,
    base: Artifact | None,
    quality: DataQualityReport,
) -> np.ndarray:
    split, counts = SPLITTERS[config.split](events)
    quality.count(**counts)
    what = "users have fewer than three events, so that they only train"
    quality.add(counts.get("n_users_too_short_to_split", 0), len(user_ids), what)
    if n_backward := counts.get("n_splits_set_to_history"):
        assert events.split is not None
        first = int(np.argmax(split != events.split))
        what = "interactions follow an event of a later split of their user; they are kept as history, no targets"
        hint = f"e.g. user {user_ids[events.user[first]]!r}: {SPLITS[events.split[first]]} after valid or test"
        quality.add(n_backward, len(events), what, hint=hint + "; ingest.split splits anew")
    if base is not None:
        check_targets(events, split, config.split)
        parquet = open_parquet(base.file("interactions.parquet"))
        parts = parquet.iter_batches(_ROWS, columns=[C.USER, C.ITEM, C.TIMESTAMP, C.SPLIT])
        earlier = (part.to_pandas() for part in parts)
        kept = without_leaked_targets(events, split, user_ids, item_ids, earlier)
        n_held_out = int(np.isin(split, [SPLITS.index("valid"), SPLITS.index("test")]).sum())
        what = "events of valid and test are known to the model that is refreshed; they are kept as history, no targets"
        hint, name = "late or removed rows moved the cut back in time; `tsrec run` starts anew", _KNOWN_TO_BASE
        quality.add(int((kept != split).sum()), n_held_out, what, count=name, hint=hint)
        split = kept
    targets = count_targets(events, split)
    quality.count(**targets)
    for name in ("valid", "test"):
        n_lost = targets[f"n_{name}_events_without_history"]
        quality.add(n_lost, n_lost + targets[f"n_{name}_targets"], f"{name}-events have no earlier event: no targets")
    check_targets(events, split, config.split)
    return split


def _file_names(files: Sequence[RawFile]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0].path}{more}"


def _write_interactions(
    events: Events, split: np.ndarray, item_ids: pd.Index, user_ids: pd.Index, out: ArtifactWriter
) -> None:
    first = np.searchsorted(events.user, np.arange(len(user_ids)))
    items, users, splits = (pa.array(ids, pa.string()) for ids in (item_ids, user_ids, SPLITS))
    with out.table_writer("interactions", _SCHEMA) as writer:
        for start in range(0, len(events), _ROWS):
            rows = slice(start, min(start + _ROWS, len(events)))
            position = np.arange(rows.start, rows.stop) - first[events.user[rows]]
            columns = [
                users.take(pa.array(events.user[rows])),
                items.take(pa.array(events.item[rows])),
                pa.array(events.timestamp[rows]),
                pa.array(position, pa.int32()),
                splits.take(pa.array(split[rows])),
            ]
            writer.write_table(pa.table(columns, schema=_SCHEMA))


def raw_inputs(config: IngestConfig) -> dict[str, Path]:
    """The raw files, by role and name. Raises DataError where one is missing, or must not be read."""
    items, interactions = SOURCES[config.source].files(config)
    named = {"items": items, "interactions": interactions}
    found = {f"{role}/{file.name}": file for role, files in named.items() for file in files}
    for name, file in found.items():
        if not file.path.is_file():
            raise DataError(f"{file.path}: no such file")
        if not file.fetched:  # a URL was allowed as such, and nobody but this machine names the copy
            permissions.check_readable(f"ingest, {name}", file.path)
    return {name: file.path for name, file in found.items()}
