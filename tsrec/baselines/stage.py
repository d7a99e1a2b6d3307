"""The baselines stage: fit each method on train, rank all items for every target of valid and test."""

from functools import partial

import numpy as np
import pyarrow as pa

from tsrec.baselines import item_knn, popular, sasrec, transitions
from tsrec.baselines.scorer import Baseline, FitInputs
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import BaselinesConfig
from tsrec.histories import build_histories
from tsrec.progress import progress
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter
from tsrec.store.work_files import kept_table

BASELINES: dict[str, Baseline] = {
    "popular": popular.fit,
    "transitions": transitions.fit,
    "item-knn": item_knn.fit,
    "sasrec": sasrec.fit,
}

_BATCH = 256


def run(config: BaselinesConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `baseline_recommendations`; a killed run resumes at the method it was at."""
    item_ids = parents["ingest"].frame("items", [C.ITEM])[C.ITEM]
    histories = build_histories(parents["ingest"].frame("interactions"), item_ids)
    inputs = FitInputs(histories, len(item_ids), config, out.work)
    events = np.concatenate([histories.target_events(split) for split in (Split.VALID, Split.TEST)])
    names = pa.array(item_ids.to_numpy(dtype=object))
    tables = []
    for method in config.methods:
        path = out.work / f"{method}.parquet"
        tables.append(kept_table(path, partial(_rank, method, inputs, events, names)))
    out.write_table("baseline_recommendations", pa.concat_tables(tables))


def _rank(method: str, inputs: FitInputs, events: np.ndarray, names: pa.Array) -> pa.Table:
    """The top items of one method for all events, best first."""
    histories, top_k = inputs.histories, min(inputs.config.top_k, inputs.n_items)
    scorer = BASELINES[method](inputs)
    items = np.zeros((len(events), top_k), dtype=np.int64)
    values = np.zeros((len(events), top_k), dtype=np.float32)
    for start in progress(range(0, len(events), _BATCH), desc=f"ranking by {method}", unit="batch"):
        batch = events[start : start + _BATCH]
        scores = scorer(batch)
        if inputs.config.exclude_seen:
            for row, event in enumerate(batch):
                scores[row, histories.history_of(int(event))] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]  # ties: the lower item index
        items[start : start + len(batch)] = order
        values[start : start + len(batch)] = np.take_along_axis(scores, order, axis=1)
    repeat = np.repeat(np.arange(len(events)), top_k)
    keep = np.isfinite(values).ravel()
    users, positions = histories.users()[events], histories.positions()[events]
    table = pa.table(
        {
            C.METHOD: pa.array([method] * len(repeat)),
            C.SPLIT: pa.array(histories.splits[events].astype(object)).take(pa.array(repeat)),
            C.USER: pa.array(histories.user_ids[users]).take(pa.array(repeat)),
            C.POSITION: pa.array(positions[repeat].astype(np.int32)),
            C.RANK: pa.array(np.tile(np.arange(1, top_k + 1, dtype=np.int32), len(events))),
            C.ITEM: names.take(pa.array(items.ravel())),
            C.SCORE: pa.array(values.ravel()),
        }
    )
    return table.filter(pa.array(keep))


STAGE = Stage(
    name="baselines",
    version=3,
    config=lambda config: config.baselines,
    parents=lambda _: ("ingest",),
    run=run,
)
