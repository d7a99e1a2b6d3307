"""The evaluate stage: decode shard by shard, then score the model and every baseline on the same targets."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import EvaluateConfig
from tsrec.errors import DataError
from tsrec.evaluate.intervals import bootstrap_means
from tsrec.evaluate.metrics import coverage, per_target
from tsrec.evaluate.recommend import Recommender, load_recommender
from tsrec.evaluate.slices import slices_of
from tsrec.histories import Histories
from tsrec.progress import progress
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter

METHOD = "tsrec"


def run(config: EvaluateConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `recommendations`, `metrics` and, on request, `recommendations_all_users`."""
    recommender, histories, item_ids = load_recommender(
        parents["ingest"],
        parents["sids"],
        parents["finetune"],
        n_beams=config.beams,
        max_history=config.max_history,
        exclude_seen=config.exclude_seen,
        device=config.device,
    )
    events = histories.target_events(Split(config.split))
    if not len(events):
        raise DataError(f"no {config.split} targets: no user has an earlier event; see ingest.split")
    users, positions = histories.users()[events], histories.positions()[events]
    pasts = [histories.history_of(int(event)) for event in events]
    recommendations = _recommend(recommender, pasts, config, out.work, "targets")
    out.write_table("recommendations", _named(recommendations, users, positions, histories, item_ids))
    if config.all_users:
        everything = [histories.items[a:b] for a, b in zip(histories.offsets[:-1], histories.offsets[1:], strict=True)]
        table = _recommend(recommender, everything, config, out.work, "all users")
        lengths, numbers = np.diff(histories.offsets), np.arange(histories.n_users)
        out.write_table("recommendations_all_users", _named(table, numbers, lengths, histories, item_ids))
    lists = {METHOD: recommendations}
    lists |= _baseline_lists(parents, config.split, users, positions, histories, item_ids)
    out.write_table("metrics", _metrics(lists, histories, events, len(item_ids), config))
    out.count(n_targets=len(events), max_history=config.max_history, beams=config.beams)


def _recommend(
    recommender: Recommender, pasts: list[np.ndarray], config: EvaluateConfig, work: Path, what: str
) -> pd.DataFrame:
    """Columns row (index into `pasts`), rank, item, score. Shards in `work` let a killed run resume."""
    tables = []
    with progress(desc=f"decoding {what}", total=len(pasts), unit="history") as bar:
        for start in range(0, len(pasts), config.shard_users):
            rows = np.arange(start, min(start + config.shard_users, len(pasts)))
            path = work / f"{what} {start}-{rows[-1]}-{config.batch_users}.parquet"
            if not path.exists():
                temporary = path.with_suffix(".tmp")
                pq.write_table(pa.Table.from_pandas(_shard(recommender, pasts, rows, config)), temporary)
                temporary.rename(path)
            tables.append(pq.read_table(path).to_pandas())
            bar.update(len(rows))
    return pd.concat(tables, ignore_index=True)


def _shard(recommender: Recommender, pasts: list[np.ndarray], rows: np.ndarray, config: EvaluateConfig) -> pd.DataFrame:
    order = rows[np.argsort([len(pasts[row]) for row in rows], kind="stable")]  # prompts of like length together
    parts = []
    for start in range(0, len(order), config.batch_users):
        batch = order[start : start + config.batch_users]
        found = recommender.recommend([pasts[row] for row in batch], max(config.k))
        for row, (items, scores) in zip(batch, found, strict=True):
            ranks = np.arange(1, len(items) + 1, dtype=np.int32)
            parts.append(pd.DataFrame({"row": row, C.RANK: ranks, "item": items, C.SCORE: scores}))
    return pd.concat(parts).sort_values(["row", C.RANK], ignore_index=True)


def _named(
    table: pd.DataFrame, users: np.ndarray, positions: np.ndarray, histories: Histories, item_ids: list[str]
) -> pa.Table:
    rows = table["row"].to_numpy()
    return pa.table(
        {
            C.USER: pa.array(histories.user_ids[users[rows]]),
            C.POSITION: pa.array(positions[rows].astype(np.int32)),
            C.RANK: pa.array(table[C.RANK].to_numpy()),
            C.ITEM: pa.array(np.array(item_ids, dtype=object)[table["item"].to_numpy()]),
            C.SCORE: pa.array(table[C.SCORE].to_numpy()),
        }
    )


def _baseline_lists(
    parents: Parents,
    split: str,
    users: np.ndarray,
    positions: np.ndarray,
    histories: Histories,
    item_ids: list[str],
) -> dict[str, pd.DataFrame]:
    """The baselines' lists in the same form as the model's, by method."""
    table = parents["baselines"].frame("baseline_recommendations")
    table = table[table[C.SPLIT] == split]
    targets = pd.MultiIndex.from_arrays([histories.user_ids[users], positions])
    row = targets.get_indexer(pd.MultiIndex.from_arrays([table[C.USER], table[C.POSITION]]))
    item = pd.Index(item_ids).get_indexer(table[C.ITEM])
    lists = table.assign(row=row, item=item)
    return {str(method): rows for method, rows in lists.groupby(C.METHOD, sort=False)}


def _metrics(
    lists: dict[str, pd.DataFrame], histories: Histories, events: np.ndarray, n_items: int, config: EvaluateConfig
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    slices = slices_of(histories, events, n_items)
    for method, table in lists.items():
        item, rank = table["item"].to_numpy(), table[C.RANK].to_numpy()
        hit = item == histories.items[events][table["row"].to_numpy()]
        ranks = np.zeros(len(events), dtype=np.int64)
        ranks[table["row"].to_numpy()[hit]] = rank[hit]
        names = [(metric, k) for k in config.k for metric in ("hr", "ndcg", "mrr")]
        values = np.stack([per_target(ranks, k)[metric] for metric, k in names], axis=1)  # (T, M)
        for name, mask in slices.items():
            if not mask.any():
                continue
            low, high = bootstrap_means(values[mask], config.bootstrap_samples, config.confidence, config.seed)
            means = values[mask].mean(axis=0)
            rows += [
                _row(method, name, metric, k, float(means[i]), float(low[i]), float(high[i]), int(mask.sum()))
                for i, (metric, k) in enumerate(names)
            ]
        rows += [
            _row(method, "all", "coverage", k, coverage(item, rank, k, n_items), np.nan, np.nan, len(events))
            for k in config.k
        ]
    return pd.DataFrame(rows)


def _row(method: str, name: str, metric: str, k: int, value: float, low: float, high: float, n: int) -> dict[str, Any]:
    return {
        C.METHOD: method,
        C.SLICE: name,
        C.METRIC: metric,
        C.K: k,
        C.VALUE: value,
        C.CI_LOW: low,
        C.CI_HIGH: high,
        C.N: n,
    }


STAGE = Stage(
    name="evaluate",
    version=1,
    config=lambda config: config.evaluate,
    parents=lambda _: ("ingest", "sids", "finetune", "baselines"),
    run=run,
)
