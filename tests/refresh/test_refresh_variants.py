"""Refreshes of other models than the default: several LLMs in a fusion, and an LLM that learned from its own lists."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_shop import grow_shop
from tsrec import pipeline, refresh
from tsrec.config import load_config
from tsrec.recommenders.recommender import Recommender
from tsrec.refresh import RefreshOutcome
from tsrec.refresh.bases import bases_of
from tsrec.store import Artifact, ArtifactStore, Lineage, base_role

Artifacts = dict[str, Artifact]
LLMS = "members.llms=[{name: texts, set: [sids.cooccurrence=0]}, {name: distilled, set: [finetune.distill.share=0.5]}]"


@pytest.fixture
def refreshed(
    shop: Path, shop_settings: list[str], tmp_path: Path
) -> Callable[..., tuple[Artifacts, RefreshOutcome, Artifacts]]:
    """Runs and then refreshes a model with the given settings: its artifacts, the outcome, the new model's."""

    def run(*settings: str) -> tuple[Artifacts, RefreshOutcome, Artifacts]:
        data = Path(shutil.copytree(shop, tmp_path / "data"))
        few = ["refresh.min_targets=20", "members.methods=[popular]", "evaluate.baseline=popular", "finetune.epochs=1"]
        own = [f"ingest.path={data}", f"store={tmp_path / 'store'}", *few, *settings]
        config = load_config(None, [*shop_settings, *own])
        champion = pipeline.run(config)
        grow_shop(data, shop)
        outcome = refresh.run(config)
        assert outcome.status == "promoted"
        store = ArtifactStore(config.store)
        return champion, outcome, bases_of(Lineage(store), store.open(outcome.model))

    return run


@pytest.mark.slow
def test_every_llm_goes_on_from_its_own(refreshed: Callable[..., tuple], tmp_path: Path) -> None:
    champion, outcome, made = refreshed(LLMS, "decode.beams=10")
    for name in ("", ":texts", ":distilled"):
        before, after = champion[f"finetune{name}"], made[f"finetune{name}"]
        assert after.manifest.key.parents[base_role("finetune")] == before.fingerprint
    for name in ("", ":texts"):
        before, after = (artifacts[f"sids{name}"].frame("item_sids") for artifacts in (champion, made))
        both = before.merge(after, on="item_id", suffixes=("_before", "_after"))
        assert len(both) == len(before) < len(after)
        np.testing.assert_array_equal(np.stack(both["codes_before"]), np.stack(both["codes_after"]))
    store = ArtifactStore(tmp_path / "store")
    gate = store.open(outcome.model).json("gate")
    assert {"tsrec", "tsrec-texts", "tsrec-distilled"} <= set(gate["members"])
    assert len(Recommender.open(store, "shop").recommend([["n0", "i1"]], k=5)[0]) == 5


# Adapters are merged at the end of a stage, and new in the next.
@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_rl_follows_fine_tuning_that_goes_on(refreshed: Callable[..., tuple], method: str) -> None:
    champion, outcome, made = refreshed(f"finetune.method={method}", "rl.epochs=0.5", "rl.beams=8")
    assert 0 <= outcome.summary["hr@10_new_items_before_training"] <= 1  # by the champion's LLM, that of its rl stage
    trained = made["finetune"].manifest.key.parents
    assert trained[base_role("finetune")] == champion["finetune"].fingerprint  # and not the champion's rl
    assert made["rl"].manifest.key.parents["finetune"] == made["finetune"].fingerprint
    assert made["decode"].manifest.key.parents["rl"] == made["rl"].fingerprint != champion["rl"].fingerprint
    assert made["rl"].counts["n_groups"] > champion["rl"].counts["n_groups"]  # all targets, not the new ones alone
