"""The evaluate stage on real artifacts of a tiny shop: metrics counted again from the tables, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsrec.config import Config, load_config, with_overrides
from tsrec.errors import ArtifactError, ConfigError
from tsrec.evaluate import STAGE
from tsrec.store import Artifact, ArtifactWriter


def _evaluate(config: Config, artifacts: dict[str, Artifact], folder: Path) -> ArtifactWriter:
    writer = ArtifactWriter(folder)
    folder.mkdir(exist_ok=True)
    STAGE.run(STAGE.config(config), artifacts, writer)
    return writer


def _lists(artifacts: dict[str, Artifact], split: str) -> dict[str, pd.DataFrame]:
    """Every method's list of each target: user_id, position, items."""
    tables = {name: artifacts["candidates"].frame(name) for name in ("popular", "transitions")}
    tables["tsrec"] = artifacts["decode"].frame("tsrec")
    for name in ("fused", *(f"fused without {member}" for member in ("tsrec", "popular", "transitions"))):
        tables[name] = artifacts["fuse"].frame(name)
    return {name: table[table["split"] == split] for name, table in tables.items()}


def test_metrics_equal_those_counted_from_the_tables(shop_artifacts: dict[str, Artifact]) -> None:
    metrics = shop_artifacts["evaluate"].frame("metrics")
    items = shop_artifacts["ingest"].frame("items")["item_id"]
    interactions = shop_artifacts["ingest"].frame("interactions")
    targets = interactions[(interactions["split"] == "test") & (interactions["position"] > 0)]
    lists = _lists(shop_artifacts, "test")
    assert set(metrics["method"]) == set(lists)
    whole = metrics[metrics["slice"] == "all"].set_index(["method", "metric", "k"])
    for method, rows in lists.items():
        joined = targets.merge(rows, on=["user_id", "position"], validate="one_to_one")
        assert len(joined) == len(targets)
        found = [list(items.iloc[numbers]) for numbers in joined["items"]]
        ranks = np.array(
            [ids.index(item) + 1 if item in ids else 10**9 for ids, item in zip(found, joined["item_id"], strict=True)]
        )
        for k in (3, 5, 10):
            expected = {
                "hr": (ranks <= k).mean(),
                "ndcg": np.where(ranks <= k, 1 / np.log2(ranks + 1.0), 0).mean(),
                "mrr": np.where(ranks <= k, 1 / ranks, 0).mean(),
                "coverage": len({item for ids in found for item in ids[:k]}) / 30,
            }
            for metric, value in expected.items():
                row = whole.loc[(method, metric, k)]
                assert row["value"] == pytest.approx(value)
                assert row["n"] == len(targets)
    bounded = whole.drop("coverage", level="metric")
    assert (bounded["ci_low"] <= bounded["value"]).all()
    assert (bounded["value"] <= bounded["ci_high"]).all()


def test_differences_are_those_of_the_metrics_and_bracket_them(shop_artifacts: dict[str, Artifact]) -> None:
    metrics = shop_artifacts["evaluate"].frame("metrics")
    values = metrics[metrics["slice"] == "all"].set_index(["method", "metric", "k"])["value"]
    differences = shop_artifacts["evaluate"].frame("differences")
    assert set(differences["against"]) == {"transitions", "fused"}
    assert not (differences["method"] == differences["against"]).any()
    for row in differences.itertuples(index=False):
        expected = values[row.method, row.metric, row.k] - values[row.against, row.metric, row.k]
        assert row.value == pytest.approx(expected)
        assert row.ci_low <= row.value <= row.ci_high
        assert 0 < row.p <= 1


def test_valid_has_no_ablations_and_is_cross_fitted(
    shop_config: Config, shop_artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    _evaluate(with_overrides(shop_config, ["evaluate.split=valid"]), shop_artifacts, tmp_path / "valid")
    metrics = pd.read_parquet(tmp_path / "valid" / "metrics.parquet")
    assert set(metrics["method"]) == {"fused", "tsrec", "popular", "transitions"}


def test_a_baseline_that_was_not_run_is_refused(shop_config: Config) -> None:
    with pytest.raises(ConfigError, match=r"evaluate.baseline is 'sasrec', .* name one of popular, transitions, tsrec"):
        with_overrides(shop_config, ["evaluate.baseline=sasrec"])


def test_short_lists_are_refused(shop_config: Config, shop_artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    table = shop_artifacts["decode"].frame("tsrec")
    table.at[int(np.flatnonzero(table["split"] == "test")[3]), "items"] = np.arange(4, dtype=np.int32)
    table["scores"] = [np.zeros(len(items), dtype=np.float32) for items in table["items"]]
    writer = ArtifactWriter(tmp_path)
    writer.write_table("tsrec", table)
    broken = Artifact(tmp_path, shop_artifacts["decode"].manifest)
    with pytest.raises(ArtifactError, match=r"tsrec gave 1 of 25 targets fewer items than it could, .* user 'u03'"):
        _evaluate(shop_config, {**shop_artifacts, "decode": broken}, tmp_path / "short")


def test_cut_offs_beyond_the_lists_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"recommend.n_candidates = 5 is less than evaluate.k = 10"):
        load_config(None, ["recommend.n_candidates=5"])
