"""A real grid on a tiny shop: what is built once, found again, measured, and what a failure or a kill leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.utilities.callables import parameter_schema

from flows.ablation import ablation as flow
from flows.cli import main
from tests.ablation.conftest import GRID, ROOT
from tsrec import pipeline
from tsrec.ablation import AblationPlan, AblationResults, build_ablation, plan_ablation, write_results
from tsrec.config import Ablation, load_grid, with_overrides
from tsrec.config.ablation import AblationVariant
from tsrec.errors import LostRunsError
from tsrec.store import ArtifactStore
from tsrec.store.gc import find_garbage

WILD = AblationVariant(name="wild", set=("finetune.learning_rate=1e30", "finetune.warmup_steps=0"))


def _store(plan: AblationPlan) -> ArtifactStore:
    (store,) = plan.stores.values()
    return store


def _table(results: AblationResults, name: str = "table") -> pd.DataFrame:
    return pd.read_parquet(results.folder / f"{name}.parquet")


def _replanned(plan: AblationPlan, **asked: object) -> AblationPlan:
    """The same ablation with other fields, on the same data sets."""
    return plan_ablation(Ablation.model_validate(plan.ablation.model_dump() | asked), tuple(plan.configs.values()))


def test_what_runs_share_is_planned_once_and_first(plan: AblationPlan) -> None:
    work = [(item.stage.stage.name, item.n_runs) for item in plan.work]
    shared = [("ingest", 4), ("keywords", 4), ("embed", 4), ("sids", 4), ("backbone", 4)]
    assert work[:5] == shared
    assert work[5:] == [(stage, 1) for _ in range(4) for stage in ("sa_init", "finetune", "decode")]
    assert [(run.variant, run.seed) for run in plan.runs] == [
        ("SA-Init", 1),
        ("random", 1),
        ("SA-Init", 2),
        ("random", 2),
    ]


def test_only_what_the_llm_needs_is_built_and_hardly_any_of_test_is_decoded(
    plan: AblationPlan, results: AblationResults
) -> None:
    built = [artifact.manifest.key.stage for artifact in _store(plan).list()]
    assert sorted(built) == sorted(work.stage.stage.name for work in plan.work)
    assert plan.runs[0].config.recommend.max_test_targets == 100
    assert results.failures == {}


def test_a_second_call_finds_everything_and_says_the_same(plan: AblationPlan, results: AblationResults) -> None:
    before = {artifact.fingerprint: artifact.manifest.created for artifact in _store(plan).list()}
    pages = {path.name: path.read_bytes() for path in results.folder.iterdir()}
    again = _replanned(plan)
    assert "12 artifacts of one run alone, 12 of them there already" in "\n".join(again.summary_lines())
    write_results(build_ablation(again))
    assert {artifact.fingerprint: artifact.manifest.created for artifact in _store(plan).list()} == before
    assert {path.name: path.read_bytes() for path in results.folder.iterdir()} == pages


def _values(plan: AblationPlan, variant: str, seed: int, metric: str, k: int) -> pd.Series:
    """Plainly: every valid target's metric, by user."""
    (run,) = [run for run in plan.runs if (run.variant, run.seed) == (variant, seed)]
    store = _store(plan)
    ingest, decode = (store.open(run.stages[name].key.fingerprint) for name in ("ingest", "decode"))
    items = ingest.frame("items")["item_id"].tolist()
    events = ingest.frame("interactions").set_index(["user_id", "position"])["item_id"]
    values = {}
    for row in decode.frame("tsrec").query("split == 'valid'").itertuples():
        right = items.index(events[row.user_id, row.position])
        rank = list(row.items).index(right) + 1 if right in row.items else 10**9
        gain = 1.0 if metric == "hr" else 1 / np.log2(rank + 1)
        values[row.user_id] = gain if rank <= k else 0.0
    return pd.Series(values)  # the shop has one valid target a user


@pytest.mark.parametrize(("metric", "k"), [("hr", 3), ("ndcg", 10)])
def test_figures_are_those_counted_plainly(plan: AblationPlan, results: AblationResults, metric: str, k: int) -> None:
    table = _table(results).set_index(["dataset", "variant", "method", "metric", "k"])
    means = {}
    for variant in ("SA-Init", "random"):
        means[variant] = [_values(plan, variant, seed, metric, k) for seed in (1, 2)]
        row = table.loc["shop", variant, "tsrec", metric, k]
        by_seed = [values.mean() for values in means[variant]]
        assert row["mean"] == pytest.approx(np.mean(by_seed))
        assert row["std"] == pytest.approx(abs(by_seed[0] - by_seed[1]) / np.sqrt(2))
        assert (row["n"], row["n_users"], row["n_seeds"]) == (len(means[variant][0]),) * 2 + (2,)
    assert pd.isna(table.loc["shop", "SA-Init", "tsrec", metric, k]["difference"])
    ours, theirs = (sum(means[variant]) / 2 for variant in ("random", "SA-Init"))
    row = table.loc["shop", "random", "tsrec", metric, k]
    assert row["difference"] == pytest.approx((ours - theirs).mean())
    assert row["relative"] == pytest.approx((ours - theirs).mean() / theirs.mean())
    assert row["n_paired_seeds"] == 2


def test_the_page_holds_the_tables_and_the_folder_the_pictures(results: AblationResults, plan: AblationPlan) -> None:
    page = (results.folder / "table.md").read_text(encoding="utf-8")
    assert page == results.page
    assert "| variant | HR@3 | NDCG@3 | HR@5 | NDCG@5 | HR@10 | NDCG@10 |" in page
    mean = _table(results).set_index(["variant", "metric", "k"])["mean"]["random", "hr", 10]
    shown = f"{mean:.4f}".removeprefix("0")
    (row,) = [line for line in page.splitlines() if line.startswith("| random |") and "±" in line]
    assert shown in row
    assert "- random: `sa_init.initializer=random`" in page
    for picture in results.pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert {path.stem for path in results.pictures} == {"curves", "tsrec", "tsrec-differences"}
    curves = _table(results, "curves").query("split == 'valid' and task == 'history'")
    assert set(zip(curves["variant"], curves["seed"], strict=True)) == {(run.variant, run.seed) for run in plan.runs}
    assert curves["loss_per_item"].to_numpy() == pytest.approx(3 * curves["loss"].to_numpy())


def test_collection_keeps_what_the_ablation_uses(plan: AblationPlan, results: AblationResults) -> None:
    store = _store(plan)
    used = {stage.key.path for run in plan.runs for stage in run.stages.values()}
    garbage = find_garbage(store, keep=1)
    assert not {artifact.manifest.key.path for artifact in garbage.artifacts} & used
    assert {(run.profile, run.dataset) for run in garbage.kept_runs} == {
        (f"ablation/demo on valid, seed {seed}", "shop") for seed in (1, 2)
    }


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_makes_the_same_page_and_fails_when_all_is_written(
    plan: AblationPlan, results: AblationResults, tmp_path: Path
) -> None:
    asked = Ablation.model_validate(plan.ablation.model_dump() | {"out": str(tmp_path)})
    assert flow(plan.configs["shop"], asked) == str(tmp_path)
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == results.page
    with_wild = asked.model_copy(update={"variants": (*asked.variants, WILD), "seeds": (1,)})
    with pytest.raises(LostRunsError, match="1 of 3 runs failed"):
        flow(plan.configs["shop"], with_wild)
    with get_client(sync_client=True) as client:
        shown = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["ablation-demo"])))
    assert "| wild | failed |" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert len(shown) == 2 and any(str(artifact.data).startswith(results.page) for artifact in shown)
    assert all("![curves](data:image/png;base64," in str(artifact.data) for artifact in shown)


def test_the_form_of_the_flow_starts_with_the_papers_claim() -> None:
    schema = parameter_schema(flow).model_dump()
    default = Ablation.model_validate(schema["properties"]["ablation"]["default"])
    names = [variant.name for variant in default.variants]
    assert names == ["SA-Init + TS-Align", "SA-Init alone", "TS-Align alone", "neither"]
    for section in ("Ablation", "AblationVariant"):
        form = schema["definitions"][section]
        assert form["additionalProperties"] is False
        assert all(field.get("description") for field in form["properties"].values())


def test_a_variant_that_fails_leaves_the_others_and_is_said(
    plan: AblationPlan, results: AblationResults, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    three = _replanned(plan, variants=(WILD, *plan.ablation.variants), seeds=(1,), out=str(tmp_path))
    again = write_results(build_ablation(three))
    assert list(again.failures) == ["shop, wild, seed 1"]
    assert "finetune: " in again.failures["shop, wild, seed 1"] and "learning" in again.failures["shop, wild, seed 1"]
    assert "| wild | failed | failed |" in again.page and "- shop, wild, seed 1: finetune: " in again.page
    kept = _table(again).set_index(["variant", "metric", "k"])["mean"]
    assert set(kept.index.get_level_values("variant")) == {"SA-Init", "random"}
    runs = _table(again, "runs").set_index("variant")
    assert runs.loc["wild", "failure"].startswith("finetune") and pd.isna(runs.loc["wild", "value"])
    with pytest.raises(LostRunsError, match=r"1 of 3 runs failed, the first of them shop, wild, seed 1: finetune"):
        again.check()
    assert "failed, the other runs go on" in caplog.text


def test_a_failed_reference_leaves_figures_without_differences(
    plan: AblationPlan, results: AblationResults, tmp_path: Path
) -> None:
    variants = (WILD, plan.ablation.variants[1])
    two = _replanned(plan, variants=variants, reference="wild", out=str(tmp_path), seeds=(1,))
    page = write_results(build_ablation(two)).page
    assert "| random | no seed in common | no seed in common |" in page
    assert "| wild (reference) | failed |" in page


def test_a_variant_that_changes_nothing_is_said(plan: AblationPlan) -> None:
    same = AblationVariant(name="same", set=("sa_init.initializer=keywords",))
    three = _replanned(plan, variants=(*plan.ablation.variants, same))
    assert "shop, same, seed 1 is the same model as SA-Init" in "\n".join(three.summary_lines())


def test_lists_of_the_whole_pipeline_are_taken_where_they_are(
    plan: AblationPlan, results: AblationResults, tmp_path: Path
) -> None:
    """A model that `tsrec run` has finished is not decoded again; its figures are the same."""
    config = with_overrides(plan.configs["shop"], ["finetune.seed=1", "members.methods=[popular, transitions]"])
    pipeline.run(config)
    again = _replanned(plan, seeds=(1,), out=str(tmp_path))
    assert again.runs[0].config.recommend.max_test_targets is None
    assert again.runs[1].config.recommend.max_test_targets == 100
    before, after = (_table(found, "runs") for found in (results, write_results(build_ablation(again))))
    merged = before.merge(after, on=["variant", "seed", "metric", "k"], suffixes=("", "_again"))
    assert len(merged) == 12 and (merged["value"] == merged["value_again"]).all()


def test_data_sets_stand_side_by_side_and_share_what_depends_on_none(
    plan: AblationPlan, results: AblationResults, tmp_path: Path
) -> None:
    config = plan.configs["shop"]
    other = with_overrides(config, ["dataset=other", "recommend.repeats=forbidden", "evaluate.k=[5]"])
    asked = Ablation.model_validate(plan.ablation.model_dump() | {"seeds": (1,), "out": str(tmp_path)})
    both = plan_ablation(asked, (config, other))
    shared = {work.stage.stage.name: work.n_runs for work in both.work if work.run.dataset == "shop"}
    assert shared["backbone"] == 4 and shared["ingest"] == 2
    page = write_results(build_ablation(both)).page
    columns = [*(f"shop {metric}@{k}" for k in (3, 5, 10) for metric in ("HR", "NDCG")), "other HR@5", "other NDCG@5"]
    assert f"| variant | {' | '.join(columns)} |" in page
    assert "| variant | shop HR@10 | shop NDCG@10 | other HR@5 | other NDCG@5 |" in page


@pytest.mark.slow
def test_fused_is_measured_where_it_is_asked_for(on_shop: list[str], tmp_path: Path) -> None:
    settings = [*on_shop, f"store={tmp_path / 'store'}", "members.methods=[popular, transitions]"]
    ablation, configs = load_grid(GRID, settings, out=str(tmp_path / "out"), fused=True, seeds=(1,), split="test")
    plan = plan_ablation(ablation, configs)
    results = write_results(build_ablation(plan))
    assert "## Fused with the other members" in results.page
    assert {"fused.png", "tsrec.png"} <= {path.name for path in results.pictures}
    table = _table(results).set_index(["variant", "method", "metric", "k"])
    assert table["std"].isna().all()  # one seed
    evaluated = pipeline.run(plan.runs[0].config)["evaluate"]
    whole = evaluated.frame("metrics").set_index(["method", "slice", "metric", "k"])["value"]
    for method in ("tsrec", "fused"):
        for metric in ("hr", "ndcg"):
            assert table.loc["SA-Init", method, metric, 10]["mean"] == pytest.approx(whole[method, "all", metric, 10])
    assert "## What the LLM adds to the fusion" in results.page
    worth = pd.read_parquet(tmp_path / "out" / "worth.parquet").set_index(["variant", "metric", "k"]).loc["SA-Init"]
    assert worth.loc[("hr", 10), "mean"] == pytest.approx(whole["fused without tsrec", "all", "hr", 10])


def test_the_command_prints_the_page_and_its_status_is_that_of_the_worst_run(
    plan: AblationPlan, results: AblationResults, on_shop: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [part for setting in [*on_shop, f"store={_store(plan).root}"] for part in ("--set", setting)]
    command = ["ablation", str(GRID), *settings, "--seeds", "1", "--out", str(tmp_path), "--no-prefect"]
    assert main([*command, "--dry-run"]) == 0
    assert "2 variants x 1 data set x 1 seed = 2 runs, valid targets" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert main(command) == 0
    assert (tmp_path / "table.md").read_text(encoding="utf-8") in capsys.readouterr().out
    assert main([*command, "--set", "finetune.learning_rate=1e30", "--set", "finetune.warmup_steps=0"]) == 1
    shown = capsys.readouterr()
    assert "| SA-Init (reference) | failed |" in shown.out
    assert "tsrec: 2 of 2 runs failed, the first of them shop, SA-Init, seed 1: finetune" in shown.err


@pytest.mark.slow
def test_killed_and_started_again_it_goes_on(
    plan: AblationPlan, results: AblationResults, on_shop: list[str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    settings = [part for setting in [*on_shop, f"store={store}"] for part in ("--set", setting)]
    command = ["ablation", str(GRID), *settings, "--out", str(tmp_path / "out"), "--no-prefect"]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *command],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        deadline = time.monotonic() + 600  # seconds, but for a machine that is busy
        while not list(store.glob("shop/decode/*/manifest.json")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not list((tmp_path / "out").iterdir())  # made beforehand, and empty
    before = {a.fingerprint: a.manifest.created for a in ArtifactStore(store).list()}
    assert main(command) == 0
    after = {a.fingerprint: a.manifest.created for a in ArtifactStore(store).list()}
    assert len(before) < len(after) and before.items() <= after.items()
    for name in ("table.parquet", "tsrec.png"):
        assert (tmp_path / "out" / name).read_bytes() == (results.folder / name).read_bytes()
