"""The whole chain on a tiny shop: what runs again when something changes, and what the report shows."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from safetensors.torch import load_file

from tests.keys import key_of
from tsrec import finetune, pipeline
from tsrec.config import Config, with_overrides
from tsrec.errors import ArtifactError
from tsrec.evaluate.summary import headline
from tsrec.histories import Histories
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders import FUSE, candidate_stages, fuse_stage
from tsrec.recommenders.candidates import lists_from_table
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.explain import Explainer
from tsrec.recommenders.fuse_stage import Fusion
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.pool import SCORES
from tsrec.recommenders.ranking import Ranked
from tsrec.recommenders.recommender import Recommender
from tsrec.recommenders.scored_proposals import first_proposals
from tsrec.recommenders.served_members import served_key
from tsrec.report.user_examples import example_users
from tsrec.store import Artifact, ArtifactStore, Lineage
from tsrec.store.gc import find_garbage


def _fingerprints(config: Config) -> dict[str, str]:
    return {name: planned.key.fingerprint for name, planned in pipeline.plan(config).items()}


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in after if after[name] != before.get(name)}


def test_every_stage_leaves_a_verified_artifact(artifacts: dict[str, Artifact]) -> None:
    assert set(artifacts) == {stage.name for stage in pipeline.STAGES} - {
        "refit",
        "semantics",
        "soft_targets",
        "rl",
        "score",
    }
    for artifact in artifacts.values():
        artifact.verify()


def test_metrics_hold_the_fusion_and_every_member(artifacts: dict[str, Artifact], config: Config) -> None:
    metrics = artifacts["evaluate"].frame("metrics")
    whole = metrics[metrics["slice"] == "all"]
    members = {"tsrec", *config.members.methods}
    assert set(whole["method"]) == {"fused", *members, *(f"fused without {member}" for member in members)}
    assert {(m, k) for m, k in zip(whole["metric"], whole["k"], strict=True)} >= {
        (metric, k) for metric in ("hr", "ndcg") for k in (3, 5, 10)
    }
    assert whole["value"].between(0, 1).all()
    assert whole.groupby("method")["n"].max().nunique() == 1


def test_every_user_gets_distinct_existing_items(artifacts: dict[str, Artifact]) -> None:
    recommendations = artifacts["fuse"].frame("recommendations")
    items = set(artifacts["ingest"].frame("items")["item_id"])
    assert set(recommendations["item_id"]) <= items
    groups = recommendations.groupby(["user_id", "position"])["item_id"]
    assert (groups.nunique() == 10).all()
    assert (groups.size() == 10).all()


def test_users_of_the_report_are_drawn_and_their_hits_are_counted(artifacts: dict[str, Artifact]) -> None:
    stories = example_users(artifacts, 12)
    drawn = [user["user"] for user in stories["users"]]
    assert len(set(drawn)) == 12 and drawn != sorted(drawn)
    assert drawn == [user["user"] for user in example_users(artifacts, 60)["users"]][:12]  # the same each time
    hits = [[pick["title"] for pick in user["picks"] if pick["is_hit"]] for user in stories["users"]]
    assert hits == [[user["next"]["title"]] if user["rank"] else [] for user in stories["users"]]
    assert stories["n_hits"] == sum(map(len, hits))
    metrics = artifacts["evaluate"].frame("metrics").set_index(["slice", "method", "metric", "k"])
    assert stories["hit_rate"] == pytest.approx(metrics.loc["all", "fused", "hr", 10]["value"])
    assert stories["n_targets"] == artifacts["evaluate"].counts["n_targets"]


def test_the_fusion_of_the_others_is_distilled_into_the_llm(artifacts: dict[str, Artifact], config: Config) -> None:
    taught = with_overrides(config, ["finetune.distill.share=0.5", "members.sasrec.epochs=1"])
    planned = pipeline.plan(taught, goal=finetune.STAGE)
    assert _changed(_fingerprints(config), {name: stage.key.fingerprint for name, stage in planned.items()}) == {
        "soft_targets",
        "finetune",
    }
    built = pipeline.build_all(taught, planned, ArtifactStore(taught.store))
    counts = built["soft_targets"].manifest.counts
    assert counts["n_soft_targets"] == counts["n_train_targets"] == built["ingest"].manifest.counts["n_train_targets"]
    assert {"history", "distilled"} <= set(built["finetune"].frame("training_log").query("split == 'train'")["task"])


def test_the_llm_scores_proposals_only_where_that_is_asked_for(config: Config) -> None:
    scored = with_overrides(config, ["fuse.llm_scores=20"])
    assert _changed(_fingerprints(config), _fingerprints(scored)) == {"score", "fuse", "evaluate", "report"}
    fuse = pipeline.plan(config)["fuse"]
    assert "score" not in fuse.parents and "llm_scores" not in fuse.key.config["own"]
    more_trees = with_overrides(scored, ["fuse.trees=7"])  # scores nothing again
    assert _changed(_fingerprints(scored), _fingerprints(more_trees)) == {"fuse", "evaluate", "report"}


def test_a_second_run_builds_nothing(artifacts: dict[str, Artifact], config: Config) -> None:
    again = pipeline.run(config)
    assert {n: a.manifest.created for n, a in again.items()} == {n: a.manifest.created for n, a in artifacts.items()}


@pytest.mark.parametrize(
    ("override", "rerun"),
    [
        ("decode.batch_tokens=800", set()),  # how it runs, not what it makes
        ("evaluate.k=[1, 10]", {"evaluate", "report"}),
        ("fuse.trees=200", {"fuse", "evaluate", "report"}),
        ("decode.beams=30", {"decode", "fuse", "evaluate", "report"}),
        ("members.sasrec.epochs=2", {"sasrec", "candidates", "fuse", "evaluate", "report"}),
        ("recommend.repeats=forbidden", {"decode", "candidates", "fuse", "evaluate", "report"}),
    ],
)
def test_a_setting_reruns_what_reads_it_and_what_follows(config: Config, override: str, rerun: set[str]) -> None:
    assert _changed(_fingerprints(config), _fingerprints(with_overrides(config, [override]))) == rerun


FURTHER = "members.llms=[{name: other, set: [finetune.seed=7]}]"


@pytest.fixture(scope="module")
def extended(config: Config) -> dict[str, Artifact]:
    """A run with a further LLM, whose members are fitted again with the events of valid."""
    return pipeline.run(with_overrides(config, [FURTHER, "members.refit=true", "profile=extended"]))


def test_a_further_llm_shares_what_is_the_same_and_joins_the_fusion(
    config: Config, extended: dict[str, Artifact]
) -> None:
    planned = pipeline.plan(with_overrides(config, [FURTHER]))
    assert set(planned) - set(_fingerprints(config)) == {"sa_init:other", "finetune:other", "decode:other"}
    assert planned["decode:other"].parents == {"ingest": "ingest", "sids": "sids", "finetune": "finetune:other"}
    metrics = extended["evaluate"].frame("metrics")
    assert {"tsrec", "tsrec-other", "fused without tsrec-other", "fused without all LLMs"} <= set(metrics["method"])
    gates = extended["fuse"].json("gates_without")
    assert set(gates["fused without all LLMs"]["members"]) == set(config.members.methods)
    assert headline(extended["evaluate"].frame("differences")).startswith("The LLMs together ")


@pytest.mark.slow
def test_rl_is_a_stage_whose_model_serves_in_place_of_fine_tunings(
    artifacts: dict[str, Artifact], config: Config
) -> None:
    """And the fine-tuned one joins it as a further LLM."""
    both = with_overrides(config, ["rl.epochs=1", "rl.beams=8", "rl.learning_rate=1e-3", "profile=rl"])
    both = with_overrides(both, ["members.llms=[{name: supervised, set: [rl.epochs=0]}]"])
    planned = pipeline.plan(both)
    before = _fingerprints(config)
    assert set(planned) - set(before) == {"rl", "decode:supervised"}
    assert planned["decode:supervised"].key.fingerprint == before["decode"]  # the very lists that are there
    assert planned["decode"].parents == {"ingest": "ingest", "sids": "sids", "rl": "rl"}
    changed = _changed(before, _fingerprints(both)) - {"decode:supervised"}
    assert changed == {"rl", "decode", "fuse", "evaluate", "report"}
    built = pipeline.run(both)
    page = built["report"].file("report.html").read_text(encoding="utf-8")
    assert "share_of_groups_with_next_item" in page and "by step of RL" in page
    assert {path.name for path in built["report"].file("images").iterdir()} >= {"rl.png", "training.png"}
    assert "by step of RL" not in artifacts["report"].file("report.html").read_text(encoding="utf-8")
    lineage = Lineage(ArtifactStore(both.store))
    weights = load_file(built["rl"].file("model") / "model.safetensors")
    served = {}
    for method in ("tsrec", "tsrec-supervised"):
        recommender = Recommender.from_artifact(lineage, built["fuse"], method)
        served[method] = recommender.member.model.state_dict()["model.embed_tokens.weight"]
        assert len(recommender.recommend([["i1", "i7"]], k=5)[0]) == 5
    learned = weights["model.embed_tokens.weight"].to(served["tsrec"].dtype)
    assert (served["tsrec"] == learned).all()
    assert (served["tsrec-supervised"] != learned).any()
    assert Explainer(lineage, built["fuse"]).describe("i7")["tokens"]
    assert trained_in(built) == "rl" and trained_in(artifacts) == "finetune"


def test_in_a_refresh_rl_runs_again_on_what_fine_tuning_went_on_to(
    artifacts: dict[str, Artifact], config: Config
) -> None:
    learned = with_overrides(config, ["rl.epochs=1"])
    anew, refreshed = pipeline.plan(learned), pipeline.plan(learned, artifacts)
    assert refreshed["finetune"].bases and not refreshed["rl"].bases
    assert refreshed["rl"].config == anew["rl"].config  # whole, and no share of it
    assert refreshed["rl"].key.parents["finetune"] == refreshed["finetune"].key.fingerprint


def test_a_refit_is_a_stage_and_a_row_of_its_own(extended: dict[str, Artifact], config: Config) -> None:
    refitted = with_overrides(config, ["members.refit=true"])
    assert _changed(_fingerprints(config), _fingerprints(refitted)) == {"refit", "fuse", "evaluate", "report"}
    assert "fused refit" in set(extended["evaluate"].frame("metrics")["method"])
    known, interactions = extended["refit"].frame("popular"), extended["ingest"].frame("interactions")
    seen = interactions[interactions["split"].isin(["train", "valid"])]["item_id"].value_counts()
    items = extended["ingest"].frame("items")["item_id"]
    first = items.iloc[known["items"].iloc[0][0]]
    assert seen[first] == seen.max()
    assert set(known["split"]) == {"test"}


def test_the_llm_scores_what_refitted_members_propose(
    artifacts: dict[str, Artifact], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, rank, seen = 4, Fusion.rank, []

    def heard(self: Fusion, gates: Any, lists: Any, targets: Any) -> Any:
        if fuse_stage.REFIT in gates:
            seen.append(lists[SCORES])
        return rank(self, gates, lists, targets)

    monkeypatch.setattr(Fusion, "rank", heard)
    few = ["members.methods=[popular, transitions]", "decode.beams=10"]
    settings = with_overrides(config, [*few, "members.refit=true", f"fuse.llm_scores={n}"])
    built = pipeline.build_all(settings, pipeline.plan(settings, goal=FUSE), ArtifactStore(settings.store))

    def lists_of_test(stage: str, name: str) -> Ranked:
        table = built[stage].table(name)
        return lists_from_table(table.filter(pc.field("split") == "test"))

    (scored,), own = seen, lists_of_test("decode", "tsrec")
    proposed, before = (
        first_proposals({name: lists_of_test(stage, name) for name in ("popular", "transitions")}, n)
        for stage in ("refit", "candidates")
    )
    beams = [items[np.isfinite(scores)] for items, scores in zip(*own, strict=True)]
    scored_before, expected = (
        [{*by_llm, *by_others} - {-1} for by_llm, by_others in zip(beams, found, strict=True)]
        for found in (before, proposed)
    )
    assert scored_before != expected, "else this test could not fail"
    assert [set(items) - {-1} for items in scored.items] == expected


def test_all_that_fits_a_member_is_made_again_once_its_code_has_changed(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = with_overrides(config, ["members.refit=true", "finetune.distill.share=0.5"])
    fuse = ArtifactStore(tmp_path).build(key_of("fuse"), lambda out: out.write_json("gate", 1))
    for name in fitting.members.methods:
        before, served = _fingerprints(fitting), served_key(fuse, fitting).fingerprint
        monkeypatch.setitem(MEMBERS, name, replace(MEMBERS[name], version=MEMBERS[name].version + 1))
        assert _changed(before, _fingerprints(fitting)) >= {"refit", "soft_targets", "finetune", "decode", "fuse"}
        assert served_key(fuse, fitting).fingerprint != served


def test_members_of_the_first_version_leave_old_fingerprints_as_they_are(config: Config) -> None:
    fitting = with_overrides(config, ["members.refit=true", "members.methods=[popular, transitions]"])
    for stage in ("refit", "soft_targets"):
        planned = pipeline.plan(with_overrides(fitting, ["finetune.distill.share=0.5"]))[stage]
        assert "versions" not in planned.key.config


def test_a_finished_run_is_found_by_its_settings_alone(
    artifacts: dict[str, Artifact], config: Config, shop: Path
) -> None:
    elsewhere = with_overrides(config, ["ingest.path=/nowhere"])
    assert pipeline.find_finished(elsewhere)[1].fingerprint == artifacts["fuse"].fingerprint
    with pytest.raises(ArtifactError, match="no finished recommender"):
        pipeline.find_finished(with_overrides(config, ["finetune.seed=99"]))


def test_a_run_says_once_that_it_uses_what_another_machine_made(
    artifacts: dict[str, Artifact], config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    manifests = [artifacts[name].path / "manifest.json" for name in ("ingest", "sids")]
    before = [path.read_text() for path in manifests]
    try:
        for path, text in zip(manifests, before, strict=True):
            path.write_text(text.replace(f'"torch": "{torch.__version__}"', '"torch": "1.13.1"'))
        again = pipeline.run(config)
    finally:
        for path, text in zip(manifests, before, strict=True):
            path.write_text(text)
    assert {name: artifact.path for name, artifact in again.items()} == {
        name: artifact.path for name, artifact in artifacts.items()
    }, "nothing is made again"
    (line,) = [record.getMessage() for record in caplog.records if "were made with other" in record.getMessage()]
    assert line.startswith(f"2 of {len(artifacts)} artifacts of this run") and "torch 1.13.1 (here " in line


def test_changing_one_title_reruns_all_but_the_backbone(config: Config, shop: Path, tmp_path: Path) -> None:
    for file in shop.iterdir():
        text = file.read_text(encoding="utf-8")
        (tmp_path / file.name).write_text(text.replace("glue stick model a", "glue gun model a"), encoding="utf-8")
    moved = config.model_copy(update={"ingest": config.ingest.model_copy(update={"path": str(tmp_path)})})
    depends_on_data = {stage.name for stage in pipeline.STAGES} - {
        "backbone",
        "refit",
        "semantics",
        "soft_targets",
        "rl",
        "score",
    }
    assert _changed(_fingerprints(config), _fingerprints(moved)) == depends_on_data


def test_the_folder_itself_does_not_enter_the_fingerprint(config: Config, shop: Path, tmp_path: Path) -> None:
    for file in shop.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    moved = config.model_copy(update={"ingest": config.ingest.model_copy(update={"path": str(tmp_path)})})
    assert _fingerprints(config) == _fingerprints(moved)


def test_a_flipped_byte_is_reported_and_rebuilt(
    artifacts: dict[str, Artifact], config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    path = artifacts["sids"].file("item_sids.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    again = pipeline.run(config, ArtifactStore(config.store))
    assert "does not match the hash" in caplog.text
    assert "item_sids.parquet" in caplog.text
    assert again["sids"].file("item_sids.parquet").read_bytes() == whole
    assert again["finetune"].manifest.created == artifacts["finetune"].manifest.created


def test_the_report_escapes_item_text_and_needs_no_other_file(artifacts: dict[str, Artifact]) -> None:
    page = artifacts["report"].file("report.html").read_text(encoding="utf-8")
    assert "<tr><td>head items</td>" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'src="data:image/png;base64,' in page
    assert "name items that the catalogue lacks" in page
    assert "&lt;b&gt;gone&lt;/b&gt;" in page
    assert re.findall(r'<h2 id="(\w+)">', page)[:3] == ["users", "metrics", "tokens"]


def test_a_run_records_what_it_uses_so_that_no_other_profile_takes_it(
    artifacts: dict[str, Artifact], config: Config
) -> None:
    """Two configurations of one data set: the newer one's collection leaves the older one's model in place."""
    store = ArtifactStore(config.store)
    other = config.model_copy(update={"finetune": config.finetune.model_copy(update={"epochs": 1.0})})
    planned = pipeline.plan(other)
    pipeline.record_planned_run(other, planned, store)
    assert not find_garbage(store, keep=1).artifacts, "not while the other one is unfinished"
    page = planned["report"].key
    store.build(page, lambda out: out.write_json("page", 1))
    garbage = find_garbage(store, keep=1)
    assert not garbage.artifacts
    assert {run.goal for run in garbage.kept_runs} >= {artifacts["report"].manifest.key.path, page.path}
    store.delete(page)


def test_a_run_can_be_forced_from_a_stage_on(artifacts: dict[str, Artifact], config: Config) -> None:
    before = pipeline.run(config)  # not `artifacts`: a test before this one may have had something built again
    again = pipeline.run(config, force_from="evaluate")
    anew = {name for name, artifact in again.items() if artifact.manifest.created != before[name].manifest.created}
    assert anew == {"evaluate", "report"}
    assert again["evaluate"].manifest.files == before["evaluate"].manifest.files  # the same bytes


def test_the_owner_of_shared_shards_opens_what_they_are_made_from_once(
    artifacts: dict[str, Artifact], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, handed_out = list[Artifact](), list[int]()
    read = candidate_stages.read_catalogue

    def count_and_read(ingest: Artifact) -> tuple[Catalogue, Histories]:
        opened.append(ingest)
        return read(ingest)

    monkeypatch.setattr(candidate_stages, "read_catalogue", count_and_read)
    monkeypatch.setattr(candidate_stages, "_SHARD", 16)
    planned = pipeline.plan(config)["candidates"]
    planned = replace(planned, stage=replace(planned.stage, shared_from=0), rebuild_before="9999")
    pipeline.build(planned, ArtifactStore(config.store), artifacts, lambda shared: handed_out.append(shared.n_missing))
    assert handed_out[0] > 1 and len(opened) == 1
