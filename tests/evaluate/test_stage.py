"""The evaluate stage on real artifacts of a tiny shop: lists, metrics, resuming."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsrec.config import Config, load_config
from tsrec.errors import ConfigError
from tsrec.evaluate import STAGE, Recommender, load_recommender
from tsrec.histories import Histories
from tsrec.store import Artifact, ArtifactWriter

TABLES = ("recommendations", "recommendations_all_users", "metrics")


def _evaluate(config: Config, artifacts: dict[str, Artifact], folder: Path, **changes: object) -> ArtifactWriter:
    writer = ArtifactWriter(folder)
    folder.mkdir(exist_ok=True)
    STAGE.run(config.evaluate.model_copy(update=changes), artifacts, writer)
    return writer


def _load(artifacts: dict[str, Artifact], **changes: object) -> tuple[Recommender, Histories, list[str]]:
    settings = {"n_beams": 20, "max_history": 20, "exclude_seen": False, "device": "cpu"} | changes
    return load_recommender(artifacts["ingest"], artifacts["sids"], artifacts["finetune"], **settings)


def test_one_full_list_of_distinct_items_per_target(shop_artifacts: dict[str, Artifact]) -> None:
    found = shop_artifacts["evaluate"].frame("recommendations")
    interactions = shop_artifacts["ingest"].frame("interactions")
    targets = interactions[(interactions["split"] == "test") & (interactions["position"] > 0)]
    lists = found.groupby(["user_id", "position"])
    assert set(lists.groups) == set(zip(targets["user_id"], targets["position"], strict=True))
    assert (lists["item_id"].nunique() == 10).all()
    assert all(ranks.tolist() == [*range(1, 11)] for _, ranks in lists["rank"])
    assert all((np.diff(scores) <= 0).all() for _, scores in lists["score"])


def test_every_user_on_request(shop_artifacts: dict[str, Artifact]) -> None:
    found = shop_artifacts["evaluate"].frame("recommendations_all_users")
    sizes = shop_artifacts["ingest"].frame("interactions").groupby("user_id").size()
    positions = found.groupby("user_id")["position"]
    assert positions.first().to_dict() == sizes.to_dict()
    assert (positions.size() == 10).all()


def test_metrics_equal_those_counted_from_the_tables(shop_artifacts: dict[str, Artifact]) -> None:
    metrics = shop_artifacts["evaluate"].frame("metrics")
    interactions = shop_artifacts["ingest"].frame("interactions")
    targets = interactions[(interactions["split"] == "test") & (interactions["position"] > 0)]
    baselines = shop_artifacts["baselines"].frame("baseline_recommendations")
    lists = dict(iter(baselines[baselines["split"] == "test"].groupby("method")))
    lists["tsrec"] = shop_artifacts["evaluate"].frame("recommendations")
    assert set(metrics["method"]) == set(lists)
    whole = metrics[metrics["slice"] == "all"].set_index(["method", "metric", "k"])
    for method, rows in lists.items():
        hits = targets.merge(rows, on=["user_id", "position", "item_id"])
        for k in (3, 5, 10):
            ranks = hits["rank"][hits["rank"] <= k]
            expected = {
                "hr": len(ranks) / len(targets),
                "ndcg": (1 / np.log2(ranks + 1)).sum() / len(targets),
                "mrr": (1 / ranks).sum() / len(targets),
                "coverage": rows[rows["rank"] <= k]["item_id"].nunique() / 30,
            }
            for metric, value in expected.items():
                row = whole.loc[(method, metric, k)]
                assert row["value"] == pytest.approx(value)
                assert row["n"] == len(targets)
    bounded = whole.drop("coverage", level="metric")
    assert (bounded["ci_low"] <= bounded["value"]).all()
    assert (bounded["value"] <= bounded["ci_high"]).all()


def test_an_interrupted_run_resumes_to_the_same_bytes(
    shop_config: Config, shop_artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    writer = _evaluate(shop_config, shop_artifacts, tmp_path / "partial")
    shards = sorted(writer.work.glob("*.parquet"))
    assert len(shards) == 8  # 25 targets and 25 users in shards of 8
    kept = {path: path.stat().st_mtime_ns for path in shards[3:]}
    whole = shards[0].read_bytes()
    shards[0].write_bytes(b"")  # what a power cut leaves
    shards[1].write_bytes(shards[1].read_bytes()[: len(whole) // 2])
    shards[2].with_name(shards[2].name + ".tmp").write_bytes(whole[:50])  # what a kill leaves
    shards[2].unlink()
    _evaluate(shop_config, shop_artifacts, tmp_path / "partial")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for table in TABLES:
        whole = shop_artifacts["evaluate"].file(f"{table}.parquet").read_bytes()
        assert (tmp_path / "partial" / f"{table}.parquet").read_bytes() == whole


def test_batches_and_shards_do_not_change_the_lists(
    shop_config: Config, shop_artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    _evaluate(shop_config, shop_artifacts, tmp_path / "other", batch_users=64, shard_users=1000)
    other = pd.read_parquet(tmp_path / "other" / "recommendations.parquet")
    found = shop_artifacts["evaluate"].frame("recommendations")
    pd.testing.assert_frame_equal(found.drop(columns="score"), other.drop(columns="score"))
    np.testing.assert_allclose(found["score"], other["score"], atol=1e-4)


def test_seen_items_are_left_out_even_beyond_the_prompt(shop_artifacts: dict[str, Artifact]) -> None:
    recommender, histories, item_ids = _load(shop_artifacts, exclude_seen=True, max_history=2)
    pasts = [histories.items_of_user(user) for user in histories.user_ids]
    for past, (items, scores) in zip(pasts, recommender.recommend(pasts, k=40), strict=True):
        assert len(items) == len(scores) == len(set(items.tolist())) == len(item_ids) - len(set(past.tolist()))
        assert not set(items.tolist()) & set(past.tolist())


def test_only_the_last_items_of_a_history_are_prompted(shop_artifacts: dict[str, Artifact]) -> None:
    recommender, _, _ = _load(shop_artifacts, max_history=3)
    long, short = np.array([9, 8, 7, 1, 2, 3]), np.array([1, 2, 3])
    (items, scores), (expected, expected_scores) = recommender.recommend([long, short], k=10)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_array_equal(scores, expected_scores)


def test_baselines_with_short_lists_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"baselines.top_k = 5 is less than evaluate.k = 10"):
        load_config(None, ["baselines.top_k=5"])
