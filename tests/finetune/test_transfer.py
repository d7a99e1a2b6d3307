"""Transfer: fine-tuning on one catalogue starts from the LLM that another one trained."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tsrec import finetune
from tsrec.config import load_config
from tsrec.pipeline import build_all, check
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import first_sid_id
from tsrec.store import Artifact, ArtifactStore


def train(store: ArtifactStore, settings: list[str]) -> dict[str, Artifact]:
    config = load_config(None, [*settings, "finetune.epochs=1"])
    return build_all(config, check(config, goal=finetune.STAGE), store)


def space_of(artifacts: dict[str, Artifact]) -> SidSpace:
    return SidSpace(tuple(artifacts["sids"].json("sid_space")["sizes"]))


@pytest.mark.slow
def test_a_model_trained_on_one_catalogue_is_the_backbone_of_another(
    shop_settings: list[str], tiny_backbone: Path, tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path / "store")
    first = train(store, shop_settings)
    trained = first["finetune"].file("model")
    other = [*shop_settings, "dataset=other", "sids.codes_per_level=[4, 16]", f"backbone.model={trained}"]
    second = train(store, other)

    backbone = second["backbone"].file("model")
    assert second["backbone"].counts["n_sid_tokens_dropped"] == space_of(first).n_tokens
    assert first["backbone"].counts["n_sid_tokens_dropped"] == 0
    text = AutoTokenizer.from_pretrained(tiny_backbone)
    assert AutoTokenizer.from_pretrained(backbone).get_vocab() == text.get_vocab()
    before, begun, pretrained = (
        AutoModelForCausalLM.from_pretrained(path).state_dict()
        for path in (trained, backbone, first["backbone"].file("model"))
    )
    for name, weights in begun.items():
        torch.testing.assert_close(weights, before[name][: len(weights)], rtol=0, atol=0)
    layer = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(begun[layer], pretrained[layer])  # it has learned from the first catalogue
    assert len(begun["lm_head.weight"]) == len(text)

    result = second["finetune"].file("model")
    assert first_sid_id(AutoTokenizer.from_pretrained(result), space_of(second), result) == len(text)
    again = train(store, [*shop_settings, "finetune.seed=2"])["finetune"]
    planned = check(load_config(None, [*other, f"backbone.model={again.file('model')}"]), goal=finetune.STAGE)
    assert planned["finetune"].key != second["finetune"].manifest.key  # another model to begin with, another artifact
