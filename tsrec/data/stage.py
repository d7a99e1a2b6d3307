"""The ingest stage: read, clean, filter, order, split, write; interactions in batches throughout."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig
from tsrec.data.cleaning import clean_items
from tsrec.data.events import SPLITS, EventReader, Events
from tsrec.data.filtering import filter_events
from tsrec.data.sources import SOURCES
from tsrec.data.splitting import SPLITTERS
from tsrec.errors import DataError
from tsrec.progress import progress
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter

_ROWS = 1_000_000
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
    """Write `items` (in order of id) and `interactions` (in order of user id and time)."""
    items_path, events_path = SOURCES[config.source].files(config)
    items = _read_items(config, items_path, out)
    events, user_ids = _read_events(config, events_path, pd.Index(items[C.ITEM]), out)
    events, counts = filter_events(events, config)
    out.count(**counts)
    if not len(events):
        raise DataError(
            f"{events_path}: no interaction is left; see ingest.since, until, min_rating, min_user_events, "
            f"min_item_events, and the {out.counts['n_interactions_with_unknown_items']} of unknown items"
        )
    if config.min_item_events > 1:
        n_before = len(items)
        items, events = _keep_items(items, events)
        out.count(n_items_dropped_by_k_core=n_before - len(items))
    events, user_ids = _in_order(events, user_ids)
    split, counts = SPLITTERS[config.split](events)
    out.count(**counts, n_items=len(items), n_users=len(user_ids), n_interactions=len(events))
    out.write_table("items", items)
    _write_interactions(events, split, items[C.ITEM].to_numpy(dtype=object), user_ids, out)


def _read_items(config: IngestConfig, path: Path, out: ArtifactWriter) -> pd.DataFrame:
    source = SOURCES[config.source]
    frames: list[pd.DataFrame] = []
    totals, n_rows = Counter[str](), 0
    for batch in progress(source.items(config, path), desc="reading items", unit="batch"):
        nameless = (batch[C.ITEM].isna() | (batch[C.ITEM] == "")).to_numpy()
        if nameless.any():
            row = n_rows + int(np.argmax(nameless)) + 1
            raise DataError(f"{path}: row {row}, field item_id: the item has no id")
        frame, counts = clean_items(batch.reset_index(drop=True), config.text_fields, config.max_text_chars)
        frames.append(frame)
        totals.update(counts)
        n_rows += len(frame)
    if not n_rows:
        raise DataError(f"{path}: the table holds no items")
    items = pd.concat(frames, ignore_index=True)
    repeated = items[C.ITEM].duplicated().to_numpy()
    if repeated.any() and not source.repeats_items:
        row = int(np.argmax(repeated))
        raise DataError(f"{path}: row {row + 1}, field item_id: {items[C.ITEM][row]!r} stands there twice")
    out.count(**totals, n_repeated_items=int(repeated.sum()))
    return items[~repeated].sort_values(C.ITEM, kind="stable", ignore_index=True)


def _read_events(
    config: IngestConfig, path: Path, item_ids: pd.Index, out: ArtifactWriter
) -> tuple[Events, np.ndarray]:
    reader = EventReader(
        item_ids, path, needs_rating=config.min_rating is not None, needs_split=config.split == "column"
    )
    batches = progress(SOURCES[config.source].interactions(config, path), desc="reading interactions", unit="batch")
    parts = [reader.read(batch) for batch in batches]
    if not reader.n_rows:
        raise DataError(f"{path}: the table holds no interactions")
    out.count(n_interactions_read=reader.n_rows, n_interactions_with_unknown_items=reader.n_unknown_items)
    return Events.concatenate(parts), reader.user_ids()


def _keep_items(items: pd.DataFrame, events: Events) -> tuple[pd.DataFrame, Events]:
    """Only the items that the k-core left, renumbered."""
    kept, item = np.unique(events.item, return_inverse=True)
    return items.iloc[kept].reset_index(drop=True), replace(events, item=item.astype(np.int32))


def _in_order(events: Events, user_ids: np.ndarray) -> tuple[Events, np.ndarray]:
    """Events by user id, time and raw order; users that still have events, numbered in order of their ids."""
    order = np.argsort(user_ids)
    rank = np.empty(len(user_ids), dtype=np.int32)
    rank[order] = np.arange(len(user_ids), dtype=np.int32)
    present, user = np.unique(rank[events.user], return_inverse=True)
    events = replace(events, user=user.astype(np.int32))
    # lexsort is stable: at equal times the raw order stays
    return events.take(np.lexsort((events.timestamp, events.user))), user_ids[order][present]


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
    for path in (items, interactions):
        if not path.is_file():
            raise DataError(f"{path}: no such file")
    return {"items": items, "interactions": interactions}


STAGE = Stage(
    name="ingest",
    version=1,
    config=lambda config: config.ingest,
    parents=lambda _: (),
    run=run,
    raw_inputs=_raw_inputs,
)
