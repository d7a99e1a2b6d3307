"""Trees from the fuse stage to the list and the report: fitted where they help, read by whoever opens the artifact."""

import json
import random
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_shop import settings_of, write_shop
from tsrec import pipeline
from tsrec.columns import Split
from tsrec.config import Config, load_config, with_overrides
from tsrec.errors import ArtifactError
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import FusionFitter, fit_at_once, open_gate
from tsrec.recommenders.recommender import Recommender
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import select_targets
from tsrec.store import Artifact


@pytest.fixture(scope="module")
def config(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The shop with other people: those with few events end with what is popular, those with many stay with their kind.
    No weighted sum knows how long a history is."""
    folder = tmp_path_factory.mktemp("habits")
    write_shop(folder)
    moments = random.Random(3)
    lines = ["user_id,item_id,timestamp"]
    for user in range(200):
        n_events = moments.choice([4, 12])
        items = [(user % 6) + 6 * moments.randrange(8) for _ in range(n_events)]
        if n_events == 4:
            items[2:] = moments.sample(range(3), 2)
        lines += [f"u{user},i{item},{time}" for time, item in enumerate(items)]
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    quick = ["members.methods=[popular, transitions]", "finetune.epochs=1", "decode.beams=10", "fuse.trees=60"]
    quick += [f"store={folder / 'store'}"]
    return load_config(None, [*settings_of(folder, tiny_backbone), *quick])


@pytest.fixture(scope="module")
def artifacts(config: Config) -> dict[str, Artifact]:
    return pipeline.run(config)


def test_the_fusion_with_trees_is_ahead_of_the_weights_alone(artifacts: dict[str, Artifact], config: Config) -> None:
    assert 0 < artifacts["fuse"].counts["n_trees"] <= config.fuse.trees
    plain = pipeline.run(with_overrides(config, ["fuse.trees=0"]))
    assert plain["fuse"].counts["n_trees"] == 0 and not plain["fuse"].has("trees.json")
    assert _ndcg(artifacts) > _ndcg(plain) + 0.02


def test_whoever_opens_the_artifact_has_the_trees(artifacts: dict[str, Artifact], config: Config) -> None:
    recommender = Recommender.from_artifact(*pipeline.find_finished(config))
    table = artifacts["fuse"].frame("fused")
    table = table[table["split"] == "test"]
    events = artifacts["ingest"].frame("interactions")
    for row in table.head(40).itertuples(index=False):
        past = events[(events["user_id"] == row.user_id) & (events["position"] < row.position)]["item_id"].tolist()
        found = recommender.recommend([past], k=10)[0]
        assert [item.score for item in found] == pytest.approx(row.scores[:10].tolist(), abs=1e-3)


@pytest.fixture(scope="module")
def fusion(artifacts: dict[str, Artifact], config: Config) -> FusionFitter:
    catalogue, histories = read_catalogue(artifacts["ingest"])
    settings = FuseSettings(own=config.fuse, rules=config.recommend)
    return FusionFitter.read(artifacts, select_targets(histories, config.recommend), catalogue, settings)


def test_gates_fitted_at_once_are_those_fitted_one_by_one(fusion: FusionFitter) -> None:
    is_valid = fusion.targets.is_in_split(Split.VALID)
    wanted = [tuple(fusion.lists), ("popular",)]
    gates = fit_at_once([partial(fusion.fit, members, is_valid) for members in wanted])
    for gate, members in zip(gates, wanted, strict=True):
        alone = fusion.fit(members, is_valid)
        assert gate.members == alone.members == members
        assert gate.weights.tobytes() == alone.weights.tobytes()
        trees = [one.trees and one.trees.to_json(members) for one in (gate, alone)]
        assert trees[0] == trees[1]


def test_a_gate_without_a_member_is_the_one_fitted_on_the_others_with_as_many_trees(fusion: FusionFitter) -> None:
    is_valid = fusion.targets.is_in_split(Split.VALID)
    gate = fusion.fit(tuple(fusion.lists), is_valid)
    assert gate.trees is not None
    for gone in fusion.lists:
        others = tuple(name for name in fusion.lists if name != gone)
        fitted, anew = fusion.fit_without(gate, [gone], is_valid), fusion.fit(others, is_valid)
        assert fitted.members == anew.members == others
        np.testing.assert_allclose(fitted.weights, anew.weights, atol=1e-8)
        assert fitted.trees is not None and fitted.trees.n_trees == gate.trees.n_trees


def test_a_gate_that_weighs_other_features_is_refused(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    before = replace(artifacts["fuse"], path=tmp_path / "before")
    shutil.copytree(artifacts["fuse"].path, before.path)
    assert open_gate(before).members == open_gate(artifacts["fuse"]).members
    content = before.json("gate")
    del content["item"]["recent_popularity"]  # as version 2 wrote it
    (before.path / "gate.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"before.*another version of tsrec; run the pipeline again"):
        open_gate(before)


def test_the_report_says_what_they_look_at(artifacts: dict[str, Artifact]) -> None:
    page = artifacts["report"].file("report.html").read_text(encoding="utf-8")
    assert f"{artifacts['fuse'].counts['n_trees']} boosted trees" in page
    gain = artifacts["fuse"].json("trees")["gain"]
    shown = page.split("by share of the gain:")[1].split("</p>")[0]
    assert shown.split()[0] == max(gain, key=gain.__getitem__).split()[0]
    assert "history_length" in shown


def _ndcg(artifacts: dict[str, Artifact]) -> float:
    metrics = artifacts["evaluate"].frame("metrics").set_index(["slice", "method", "metric", "k"])["value"]
    return float(metrics["all", "fused", "ndcg", 10])
