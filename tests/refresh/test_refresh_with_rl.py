"""A refresh of a model that learned from its own lists: RL runs again, on what fine-tuning went on to."""

from pathlib import Path

import pytest

from tests.tiny_shop import grow_shop
from tsrec import pipeline, refresh
from tsrec.config import load_config
from tsrec.refresh.bases import bases_of
from tsrec.store import ArtifactStore, Lineage, base_role


# Adapters are merged at the end of a stage, and new in the next.
@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_rl_follows_fine_tuning_that_goes_on(
    shop_settings: list[str], shop: Path, growing: Path, tmp_path: Path, method: str
) -> None:
    own = [
        f"finetune.method={method}",
        "rl.epochs=0.5",
        "rl.beams=8",
        f"ingest.path={growing}",
        f"store={tmp_path / 'store'}",
    ]
    few = ["refresh.min_targets=20", "members.methods=[popular]", "evaluate.baseline=popular", "finetune.epochs=1"]
    config = load_config(None, [*shop_settings, *own, *few])
    champion = pipeline.run(config)
    grow_shop(growing, shop)
    outcome = refresh.run(config)
    assert outcome.status == "promoted"
    assert 0 <= outcome.summary["hr@10_new_items_before_training"] <= 1  # by the champion's LLM, that of its rl stage
    store = ArtifactStore(config.store)
    made = bases_of(Lineage(store), store.open(outcome.model))
    trained = made["finetune"].manifest.key.parents
    assert trained[base_role("finetune")] == champion["finetune"].fingerprint  # and not the champion's rl
    assert made["rl"].manifest.key.parents["finetune"] == made["finetune"].fingerprint
    assert made["decode"].manifest.key.parents["rl"] == made["rl"].fingerprint != champion["rl"].fingerprint
    assert made["rl"].counts["n_groups"] > champion["rl"].counts["n_groups"]  # all targets, not the new ones alone
