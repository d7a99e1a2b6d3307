"""The ingest stage: read, clean, filter, order, split, write; interactions in batches throughout."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.arrival import lacks_line_end, once_each
from tsrec.data.cleaning import clean_items
from tsrec.data.events import SPLITS, EventReader, Events
from tsrec.data.filtering import filter_events, k_core, renumber
from tsrec.data.finding import RawFile
from tsrec.data.ids import as_ids, no_ids
from tsrec.data.losses import LossReport, failed_join
from tsrec.data.ordering import find_duplicates, in_order, ties
from tsrec.data.sources import SOURCES
from tsrec.data.splitting import SPLITTERS, check_targets, count_targets
from tsrec.errors import DataError
from tsrec.progress import progress
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter

_ROWS = 1_000_000
_IS_LOG = "; where this is the log of interactions, name it in ingest.items_file and in ingest.interactions_file"
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
    """Write `items` (in order of id), `interactions` (in order of user id and time) and what was lost."""
    item_files, event_files = SOURCES[config.source].files(config)
    losses = LossReport(config.max_loss)
    event_files = tuple(_arrived(config, item_files, event_files, out, losses))
    items = _read_items(config, item_files, out, losses)
    reader = _read_events(config, item_files, event_files, pd.Index(items[C.ITEM]), out, losses)
    events, user_ids = _select(config, reader, out, losses)
    if not len(events):
        raise DataError(
            f"{_place(event_files)}: no interaction is left; see ingest.since, until, min_rating, min_user_events, "
            f"min_item_events, and the {out.counts['n_interactions_with_unknown_items']} of unknown items"
        )
    if config.min_item_events > 1:
        n_before = len(items)
        items, events = _keep_items(items, events)
        out.count(n_items_dropped_by_k_core=n_before - len(items))
    out.count(n_items=len(items), n_users=len(user_ids), n_interactions=len(events))
    split = _split(config, events, user_ids, out, losses)
    out.write_table("items", items)
    _write_interactions(events, split, items[C.ITEM].to_numpy(dtype=object), user_ids, out)
    losses.write(out)


def _arrived(
    config: IngestConfig,
    item_files: Sequence[RawFile],
    event_files: Sequence[RawFile],
    out: ArtifactWriter,
    losses: LossReport,
) -> Sequence[RawFile]:
    """The files of interactions that are read; of what comes twice, and of what may be cut, word is given."""
    files = [*(file for file in item_files if not file.is_log), *event_files]
    cut = [file.path for file in files if lacks_line_end(file.path)]
    read = once_each(event_files) if config.duplicates == "drop" else event_files
    n_repeated = len(event_files) - len(read)
    out.count(n_files_without_line_end=len(cut), n_files_repeated=n_repeated)
    hint = f"e.g. {cut[0]}: its last row may be cut" if cut else ""
    losses.add(len(cut), len(files), "files stop within a line", hint=hint)
    losses.add(n_repeated, len(event_files), "files have the bytes of another with interactions, and are skipped")
    return read


def _read_items(
    config: IngestConfig, files: Sequence[RawFile], out: ArtifactWriter, losses: LossReport
) -> pd.DataFrame:
    source = SOURCES[config.source]
    frames: list[pd.DataFrame] = []
    totals, seen = Counter[str](), set[str]()  # `seen` in the file that is read
    n_twice, twice = 0, ""
    for batch in progress(source.items(config, files), desc="reading items", unit="batch"):
        if batch.first_row == 1:
            seen.clear()
        nameless = no_ids(batch.rows[C.ITEM])
        if nameless.any():
            row = batch.first_row + int(np.argmax(nameless))
            raise DataError(f"{batch.path}: row {row}, field item_id: the item has no id")
        ids, n_escaped = as_ids(batch.rows[C.ITEM], batch.path)
        frame, counts = clean_items(batch.rows.assign(**{C.ITEM: ids}), config.text_fields, config.max_text_chars)
        repeated = (frame[C.ITEM].duplicated() | frame[C.ITEM].isin(seen)).to_numpy()
        if repeated.any() and not twice:
            place = int(np.argmax(repeated))
            row = batch.first_row + int(frame.index[place])
            twice = f"e.g. {frame[C.ITEM].iloc[place]!r} in row {row} of {batch.path.name}"
        n_twice += int(repeated.sum())
        frames.append(frame)
        seen.update(frame[C.ITEM])
        totals.update(counts, n_items=len(frame), n_item_ids_escaped=n_escaped)
    n_rows = totals.pop("n_items", 0)
    if not n_rows:
        raise DataError(f"{_place(files)}: the table holds no items")
    items = pd.concat(frames)
    counts_row: Literal["first", "last"] = "first" if source.repeats_items else "last"
    older = items[C.ITEM].duplicated(keep=counts_row).to_numpy()
    out.count(**totals, n_repeated_items=int(older.sum()))
    what = f"rows repeat an item of their file; of each item the {counts_row} row counts"
    hint = twice + _IS_LOG * (2 * n_twice > n_rows)
    losses.add(n_twice, n_rows, what, hint=hint, stops=not source.repeats_items)
    fields = ", ".join(config.text_fields)
    hint = f"their id stands for it; see ingest.text_fields ({fields}) and item_columns"
    losses.add(totals["n_items_without_text"], n_rows, "items have no text", hint=hint, stops=True)
    losses.add(totals["n_texts_cut"], n_rows, "texts are cut", hint="see ingest.max_text_chars", wanted=True)
    return items[~older].sort_values(C.ITEM, kind="stable", ignore_index=True)


def _read_events(
    config: IngestConfig,
    item_files: Sequence[RawFile],
    files: Sequence[RawFile],
    item_ids: pd.Index,
    out: ArtifactWriter,
    losses: LossReport,
) -> EventReader:
    reader = EventReader(item_ids, needs_rating=config.min_rating is not None, needs_split=config.split == "column")
    batches = SOURCES[config.source].interactions(config, files)
    for batch in progress(batches, desc="reading interactions", unit="batch"):
        reader.read(batch)
    n_read = reader.n_rows + reader.n_left_out
    if not n_read:
        raise DataError(f"{_place(files)}: the table holds no interactions")
    if reader.kinds:
        never = reader.kinds.never_found()
        out.count(n_dropped_by_keep=reader.n_left_out)
        losses.add(reader.n_left_out, n_read, "interactions go by ingest.keep", wanted=True)
        losses.add(len(never), reader.kinds.n_values(), "values of ingest.keep stand nowhere", hint="; ".join(never))
    out.count(
        n_interactions_read=n_read,
        n_interactions_with_unknown_items=reader.n_unknown_items,
        n_interaction_ids_escaped=reader.n_ids_escaped,
    )
    if reader.n_unknown_items:
        what = "interactions name items that the catalogue lacks"
        hint = failed_join(reader.unknown_items, files[0].path, item_ids, item_files[0].path)
        losses.add(reader.n_unknown_items, reader.n_rows, what, hint=hint, stops=True)
    return reader


def _select(
    config: IngestConfig, reader: EventReader, out: ArtifactWriter, losses: LossReport
) -> tuple[Events, np.ndarray]:
    """Events that stay, in order; users that still have events, renumbered in order of their ids."""
    events, clock, facts = reader.events()
    out.count(**facts)
    n_before = len(events)
    odd = int(facts["n_times_outside_1990_to_2100"])
    losses.add(odd, n_before, f"timestamps (in {clock.unit}) lie outside 1990 to 2100", hint="missing ones?")
    events, counts = filter_events(events, clock, config)
    out.count(**counts)
    for name, settings in (("n_dropped_by_time", "since, until"), ("n_dropped_by_rating", "min_rating")):
        losses.add(counts.get(name, 0), n_before, f"interactions go by ingest.{settings}", wanted=True)
    events, user_ids = in_order(events, reader.user_ids())
    twice = find_duplicates(events)
    out.count(n_duplicates=int(twice.sum()))
    if config.duplicates == "drop":
        what = "interactions repeat user, item and time of another, and go"
        losses.add(int(twice.sum()), len(events), what, hint="ingest.duplicates=keep keeps them")
        events = events.take(~twice)
    n_before, n_users = len(events), np.count_nonzero(np.bincount(events.user))
    events = k_core(events, config.min_user_events, config.min_item_events)
    present, user = renumber(events.user)
    out.count(
        n_dropped_by_k_core=n_before - len(events),
        n_users_dropped_by_k_core=int(n_users - len(present)),
        n_ties=int(ties(events).sum()),
    )
    what = "interactions go by ingest.min_user_events, min_item_events"
    losses.add(n_before - len(events), n_before, what, wanted=True)
    return replace(events, user=user), user_ids[present]


def _split(
    config: IngestConfig, events: Events, user_ids: np.ndarray, out: ArtifactWriter, losses: LossReport
) -> np.ndarray:
    split, counts = SPLITTERS[config.split](events)
    out.count(**counts)
    what = "users have fewer than three events, so that they only train"
    losses.add(counts.get("n_users_too_short_to_split", 0), len(user_ids), what)
    if counts.get("n_splits_set_to_history"):
        changed = np.flatnonzero(split != events.split)
        what = "interactions follow an event of a later split of their user; they are kept as history, no targets"
        hint = (
            f"e.g. user {user_ids[events.user[changed[0]]]!r}: {SPLITS[events.split[changed[0]]]} after valid or test"
        )
        losses.add(len(changed), len(events), what, hint=hint + "; ingest.split splits anew")
    targets = count_targets(events, split)
    out.count(**targets)
    for name in ("valid", "test"):
        n_lost = targets[f"n_{name}_events_without_history"]
        losses.add(n_lost, n_lost + targets[f"n_{name}_targets"], f"{name}-events have no earlier event: no targets")
    check_targets(events, split, config.split)
    return split


def _place(files: Sequence[RawFile]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0].path}{more}"


def _keep_items(items: pd.DataFrame, events: Events) -> tuple[pd.DataFrame, Events]:
    """Only the items that the k-core left, renumbered."""
    kept, item = renumber(events.item)
    return items.iloc[kept].reset_index(drop=True), replace(events, item=item)


def _write_interactions(
    events: Events, split: np.ndarray, item_ids: np.ndarray, user_ids: np.ndarray, out: ArtifactWriter
) -> None:
    first = np.searchsorted(events.user, np.arange(len(user_ids)))
    position = (np.arange(len(events)) - first[events.user]).astype(np.int32)
    items, users, splits = (pa.array(ids, pa.string()) for ids in (item_ids, user_ids, SPLITS))
    with out.table_writer("interactions", _SCHEMA) as writer:
        for start in range(0, len(events), _ROWS):
            rows = slice(start, start + _ROWS)
            columns = [
                users.take(pa.array(events.user[rows])),
                items.take(pa.array(events.item[rows])),
                pa.array(events.timestamp[rows]),
                pa.array(position[rows]),
                splits.take(pa.array(split[rows])),
            ]
            writer.write_table(pa.table(columns, schema=_SCHEMA))


def _raw_inputs(config: IngestConfig) -> dict[str, Path]:
    items, interactions = SOURCES[config.source].files(config)
    for file in (*items, *interactions):
        if not file.path.is_file():
            raise DataError(f"{file.path}: no such file")
    named = {"items": items, "interactions": interactions}
    return {f"{role}/{file.name}": file.path for role, files in named.items() for file in files}


STAGE = Stage(
    name="ingest",
    version=2,
    config=lambda config: config.ingest,
    parents=lambda _: (),
    run=run,
    raw_inputs=_raw_inputs,
)
