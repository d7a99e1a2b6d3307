"""The evaluate stage: decode shard by shard, then score the model and every baseline on the same targets."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import EvaluateConfig
from tsrec.errors import ArtifactError, DataError
from tsrec.evaluate.recommend import load_recommender
from tsrec.evaluate.scoring import score
from tsrec.evaluate.shards import ITEM_NUMBER, ROW, recommend_all
from tsrec.evaluate.slices import slices_of
from tsrec.histories import Histories
from tsrec.stage import Parents, Stage
from tsrec.store import Artifact, ArtifactWriter

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
    recommendations = recommend_all(recommender, pasts, config, out.work, "targets")
    out.write_table("recommendations", _named(recommendations, users, positions, histories, item_ids))
    if config.all_users:
        everything = [histories.items[a:b] for a, b in zip(histories.offsets[:-1], histories.offsets[1:], strict=True)]
        table = recommend_all(recommender, everything, config, out.work, "all users")
        lengths, numbers = np.diff(histories.offsets), np.arange(histories.n_users)
        out.write_table("recommendations_all_users", _named(table, numbers, lengths, histories, item_ids))
    lists = {METHOD: recommendations}
    lists |= _baseline_lists(parents["baselines"], config.split, histories.user_ids[users], positions, item_ids)
    slices = slices_of(histories, events, len(item_ids))
    out.write_table("metrics", score(lists, histories.items[events], slices, len(item_ids), config))
    out.count(
        n_targets=len(events),
        n_histories_cut=sum(len(past) > config.max_history for past in pasts),
        max_history=config.max_history,
        beams=config.beams,
    )


def _named(
    table: pa.Table, users: np.ndarray, positions: np.ndarray, histories: Histories, item_ids: list[str]
) -> pa.Table:
    """User, position and item id in place of numbers; `users` and `positions` run parallel to the rows."""
    rows = table[ROW].to_numpy()
    return pa.table(
        {
            C.USER: pa.array(histories.user_ids[users[rows]]),
            C.POSITION: pa.array(positions[rows].astype(np.int32)),
            C.RANK: table[C.RANK],
            C.ITEM: pa.array(item_ids).take(table[ITEM_NUMBER]),
            C.SCORE: table[C.SCORE],
        }
    )


def _baseline_lists(
    baselines: Artifact, split: str, user_ids: np.ndarray, positions: np.ndarray, item_ids: list[str]
) -> dict[str, pa.Table]:
    """The baselines' lists in the same form as the model's, by method, in the order of the table."""
    table = baselines.table("baseline_recommendations")
    table = table.filter(pc.equal(table[C.SPLIT], split))
    targets = pd.MultiIndex.from_arrays([user_ids, positions])
    rows = targets.get_indexer(pd.MultiIndex.from_arrays([table[C.USER].to_pandas(), table[C.POSITION].to_numpy()]))
    items = pd.Index(item_ids).get_indexer(table[C.ITEM].to_pandas())
    if (rows < 0).any() or (items < 0).any():
        raise ArtifactError(f"{baselines.path} ranks other targets or items than ingest has; run baselines again")
    numbered = pa.table({C.METHOD: table[C.METHOD], ROW: rows, C.RANK: table[C.RANK], ITEM_NUMBER: items})
    methods = table[C.METHOD].unique().to_pylist()
    return {method: numbered.filter(pc.equal(numbered[C.METHOD], method)) for method in methods}


STAGE = Stage(
    name="evaluate",
    version=2,
    config=lambda config: config.evaluate,
    parents=lambda _: ("ingest", "sids", "finetune", "baselines"),
    run=run,
)
