"""The door gives the lists that were measured, however many items each member is asked for."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tsrec import pipeline
from tsrec.config import Config, load_config, with_overrides
from tsrec.recommenders import FUSE
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import Fusion, open_gate
from tsrec.recommenders.recommender import Recommender
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import select_targets
from tsrec.store import Artifact, ArtifactStore, Lineage
from tsrec.store.manifest import Manifest

FEW = "recommend.n_candidates=12"  # than any member can list


@pytest.fixture(scope="module")
def config(shop_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Config:
    quick = ["members.methods=[popular, transitions, text-similarity]", "finetune.epochs=1"]
    return load_config(None, [*shop_settings, *quick, f"store={tmp_path_factory.mktemp('store')}"])


def _built(config: Config, settings: list[str]) -> dict[str, Artifact]:
    config = with_overrides(config, settings)
    return pipeline.build_all(config, pipeline.check(config, goal=FUSE), ArtifactStore(config.store))


@pytest.mark.parametrize(
    "settings",
    [
        ["recommend.n_candidates=200"],  # more than the shop has
        ["recommend.n_candidates=48"],  # all
        [FEW],
        [FEW, "recommend.repeats=forbidden", "decode.max_history=2", "decode.beams=10", "fuse.length=12"],
        [FEW, "decode.beams=10", "fuse.llm_scores=8", "decode.shard_users=7"],
    ],
)
def test_items_and_scores_of_every_test_target(config: Config, settings: list[str]) -> None:
    built = _built(config, settings)
    door = Recommender.from_artifact(Lineage(ArtifactStore(config.store)), built["fuse"], as_measured=True)
    assert open_gate(built["fuse"]).scored is any(setting.startswith("fuse.llm_scores") for setting in settings)
    table = built["fuse"].frame("fused")
    table = table[table["split"] == "test"]
    events = built["ingest"].frame("interactions").sort_values(["user_id", "position"])
    items = events.groupby("user_id")["item_id"].apply(list)
    pasts = [items[row.user_id][: row.position] for row in table.itertuples(index=False)]
    same = []
    lists = door.recommend(pasts, k=table["items"].map(len).max())
    for found, row in zip(lists, table.itertuples(index=False), strict=True):
        scores = [-np.inf if item.score is None else item.score for item in found]
        np.testing.assert_allclose(scores, row.scores, atol=1e-3)
        same.append([item.item_id for item in found] == door.catalogue.item_ids[row.items].tolist())
    assert np.mean(same) > 0.9  # other batches may settle a tie in the last bits otherwise


def test_of_an_older_model_too(config: Config, tmp_path: Path) -> None:
    """One whose gate counts 200 proposals of lists of 12, and whose settings have words that are gone."""
    built = _built(config, [FEW])
    fuse = replace(built["fuse"], path=tmp_path / "older", manifest=_older(built["fuse"]))
    shutil.copytree(built["fuse"].path, fuse.path)
    (fuse.path / "gate.json").write_text(json.dumps({**fuse.json("gate"), "depth": 200}), encoding="utf-8")
    catalogue, histories = read_catalogue(built["ingest"])
    rules = with_overrides(config, [FEW]).recommend
    targets = select_targets(histories, rules)
    fusion = Fusion.read(built, targets, catalogue, FuseSettings(own=config.fuse, rules=rules))
    gate, lists = open_gate(fuse), fusion.stored.read(np.arange(len(targets.events)))
    measured, _ = gate.rank(gate.pool(lists, targets.pasts(), fusion.popularity), 10)
    door = Recommender.from_artifact(Lineage(ArtifactStore(config.store)), fuse, as_measured=True)
    found = door.recommend([catalogue.item_ids[past].tolist() for past in targets.pasts()], k=10)
    np.testing.assert_allclose([[item.score for item in mine] for mine in found], measured.scores, atol=1e-3)


def _older(fuse: Artifact) -> Manifest:
    key = fuse.manifest.key
    own, rules = {**key.config["own"], "depth": 200}, {**key.config["rules"], "repeats": "allowed"}
    return fuse.manifest.model_copy(update={"key": key.model_copy(update={"config": {"own": own, "rules": rules}})})
