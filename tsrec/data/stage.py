"""The ingest stage: read, clean, filter, order, split, write; interactions in batches throughout."""

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
        raise DataError(f"{events_path}: no interaction is left after filtering; see ingest.since, min_rating, k-core")
    if config.min_item_events > 1:
        items, events = _keep_items(items, events)
    order = np.argsort(user_ids)
    rank = np.empty(len(user_ids), dtype=np.int32)
    rank[order] = np.arange(len(user_ids), dtype=np.int32)
    present, user = np.unique(rank[events.user], return_inverse=True)
    user_ids = user_ids[order][present]
    events = Events(user.astype(np.int32), events.item, events.timestamp, events.rating, events.split)
    events = events.take(np.lexsort((events.timestamp, events.user)))  # stable: equal times keep the raw order
    split, counts = SPLITTERS[config.split](events)
    out.count(**counts, n_items=len(items), n_users=len(user_ids), n_interactions=len(events))
    out.write_table("items", items)
    _write_interactions(events, split, items[C.ITEM].to_numpy(dtype=object), user_ids, out)


def _read_items(config: IngestConfig, path: Path, out: ArtifactWriter) -> pd.DataFrame:
    batches = progress(SOURCES[config.source].items(config, path), desc="reading items", unit="batch")
    frames, totals = [], {}
    for batch in batches:
        frame, counts = clean_items(batch.reset_index(drop=True), config.text_fields, config.max_text_chars)
        frames.append(frame)
        totals = {name: totals.get(name, 0) + count for name, count in counts.items()}
    if not frames or not sum(map(len, frames)):
        raise DataError(f"{path}: the table holds no items")
    items = pd.concat(frames, ignore_index=True)
    repeated = items[C.ITEM].duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated.to_numpy())[0]) + 1
        raise DataError(f"{path}: row {row}, field item_id: {items[C.ITEM][row - 1]!r} stands there twice")
    out.count(**totals)
    return items.sort_values(C.ITEM, kind="stable", ignore_index=True)


def _read_events(
    config: IngestConfig, path: Path, item_ids: pd.Index, out: ArtifactWriter
) -> tuple[Events, np.ndarray]:
    reader = EventReader(item_ids, path, needs_split=config.split == "column")
    batches = progress(SOURCES[config.source].interactions(config, path), desc="reading interactions", unit="batch")
    parts = [reader.read(batch) for batch in batches]
    if not reader.n_rows:
        raise DataError(f"{path}: the table holds no interactions")
    out.count(n_interactions_read=reader.n_rows, n_interactions_with_unknown_items=reader.n_unknown_items)
    return Events.concatenate(parts), reader.user_ids()


def _keep_items(items: pd.DataFrame, events: Events) -> tuple[pd.DataFrame, Events]:
    """Only the items that the k-core left, renumbered."""
    kept, item = np.unique(events.item, return_inverse=True)
    renumbered = Events(events.user, item.astype(np.int32), events.timestamp, events.rating, events.split)
    return items.iloc[kept].reset_index(drop=True), renumbered


def _write_interactions(
    events: Events, split: np.ndarray, item_ids: np.ndarray, user_ids: np.ndarray, out: ArtifactWriter
) -> None:
    first = np.searchsorted(events.user, np.arange(len(user_ids)))
    position = (np.arange(len(events)) - first[events.user]).astype(np.int32)
    items, users, splits = pa.array(item_ids), pa.array(user_ids), pa.array(SPLITS)
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
            writer.write_table(
                pa.table(
                    [column.cast(field.type) for column, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
                )
            )


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
