"""A refresh of a fusion of several LLMs: each goes on from its own, on its own SIDs."""

from pathlib import Path

import numpy as np
import pytest

from tests.tiny_shop import grow_shop
from tsrec import pipeline, refresh
from tsrec.config import load_config
from tsrec.recommenders.recommender import Recommender
from tsrec.refresh.bases import bases_of
from tsrec.store import ArtifactStore, Lineage, base_role

LLMS = "members.llms=[{name: texts, set: [sids.cooccurrence=0]}, {name: distilled, set: [finetune.distill.share=0.5]}]"


@pytest.mark.slow
def test_every_llm_goes_on_from_its_own(shop_settings: list[str], shop: Path, growing: Path, tmp_path: Path) -> None:
    own = [LLMS, f"ingest.path={growing}", f"store={tmp_path / 'store'}", "refresh.min_targets=20"]
    few = ["members.methods=[popular]", "evaluate.baseline=popular", "finetune.epochs=1", "decode.beams=10"]
    config = load_config(None, [*shop_settings, *own, *few])
    champion = pipeline.run(config)
    grow_shop(growing, shop)
    outcome = refresh.run(config)
    assert outcome.status == "promoted"
    store = ArtifactStore(config.store)
    fuse = store.open(outcome.model)
    made = bases_of(Lineage(store), fuse)
    for name in ("", ":texts", ":distilled"):
        before, after = champion[f"finetune{name}"], made[f"finetune{name}"]
        assert after.manifest.key.parents[base_role("finetune")] == before.fingerprint
    for name in ("", ":texts"):
        before, after = (artifacts[f"sids{name}"].frame("item_sids") for artifacts in (champion, made))
        both = before.merge(after, on="item_id", suffixes=("_before", "_after"))
        assert len(both) == len(before) < len(after)
        np.testing.assert_array_equal(np.stack(both["codes_before"]), np.stack(both["codes_after"]))
    assert {"tsrec", "tsrec-texts", "tsrec-distilled"} <= set(fuse.json("gate")["members"])
    assert len(Recommender.open(store, config.dataset).recommend([["n0", "i1"]], k=5)[0]) == 5
