"""Recommendations for many histories, shard by shard, so that a killed run goes on where it was."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import EvaluateConfig
from tsrec.evaluate.recommend import Recommender
from tsrec.progress import progress
from tsrec.store.work_files import kept_table

ROW = "row"
ITEM_NUMBER = "item"

_LEAST_ITEMS = 10  # lists are read by people too, however small the cut-offs of the metrics


def recommend_all(
    recommender: Recommender, pasts: list[np.ndarray], config: EvaluateConfig, work: Path, what: str
) -> pa.Table:
    """Recommend for every history; finished shards are found again in `work`.

    Args:
        pasts: histories, item indices, oldest first.
        what: names the shards and the progress bar.

    Returns:
        columns row (int64, index into `pasts`), rank (int32, from 1), item (int64, index), score (float32), in order
        of row and rank.
    """
    shards = []
    with progress(desc=f"decoding {what}", total=len(pasts), unit="history") as bar:
        for start in range(0, len(pasts), config.shard_users):
            rows = np.arange(start, min(start + config.shard_users, len(pasts)))
            # Other batches may give other last bits, so shards of another batch size are not mixed in.
            path = work / f"{what} {start}-{rows[-1]}-{config.batch_users}.parquet"
            shards.append(kept_table(path, partial(_shard, recommender, pasts, rows, config)))
            bar.update(len(rows))
    return pa.concat_tables(shards)


def _shard(recommender: Recommender, pasts: list[np.ndarray], rows: np.ndarray, config: EvaluateConfig) -> pa.Table:
    order = rows[np.argsort([len(pasts[row]) for row in rows], kind="stable")]  # prompts of like length together
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for start in range(0, len(order), config.batch_users):
        batch = order[start : start + config.batch_users]
        lists = recommender.recommend([pasts[row] for row in batch], max(*config.k, _LEAST_ITEMS))
        found.update(zip(batch.tolist(), lists, strict=True))
    items, scores = zip(*(found[row] for row in rows.tolist()), strict=True)
    lengths = [len(part) for part in items]
    return pa.table(
        {
            ROW: np.repeat(rows, lengths),
            C.RANK: np.concatenate([np.arange(1, length + 1, dtype=np.int32) for length in lengths]),
            ITEM_NUMBER: np.concatenate(items),
            C.SCORE: np.concatenate(scores),
        }
    )
