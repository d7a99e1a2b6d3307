"""Which parameter learns how fast, in every family of models."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.model_families import FAMILIES, save_model
from tsrec.config import FinetuneConfig
from tsrec.finetune.model import SidModel
from tsrec.finetune.rates import own_rates
from tsrec.sid.space import SidSpace

SPACE = SidSpace((2, 3))


def _rates(folder: Path, **settings: object) -> tuple[dict[str, float], list[str]]:
    config = FinetuneConfig(learning_rate=0.1, **settings)
    language_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    width = language_model.get_input_embeddings().weight.shape[1]
    n_text = language_model.get_input_embeddings().weight.shape[0]
    model = SidModel(language_model, torch.zeros(SPACE.n_tokens, width), SPACE, n_text, 1, config)
    names = [name for name, _ in model.named_parameters()]
    return own_rates(names, config), names


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lower_of_two_layers_learns_more_slowly(family: str, tmp_path: Path, tiny_backbone: Path) -> None:
    rates, names = _rates(save_model(tmp_path, tiny_backbone, FAMILIES[family]), layer_decay=0.5)
    lower = {name for name in names if ".0." in name}
    assert lower and set(rates) == lower
    assert set(rates.values()) == {0.05}
    assert "sid_rows" not in rates


def test_adapters_too_and_rows_keep_their_own(tiny_backbone: Path) -> None:
    rates, names = _rates(tiny_backbone, layer_decay=0.5, method="lora", sid_learning_rate=0.3)
    assert rates.pop("sid_rows") == 0.3
    assert {name for name in names if "layers.0." in name} == set(rates)
    assert any("lora" in name for name in rates)


def test_a_decay_of_one_is_no_decay(tiny_backbone: Path) -> None:
    assert _rates(tiny_backbone)[0] == {}
    assert _rates(tiny_backbone, sid_learning_rate=0.3)[0] == {"sid_rows": 0.3}


def test_rates_fall_from_layer_to_layer() -> None:
    names = [f"decoder.layers.{n}.mlp.experts.7.weight" for n in range(4)] + ["decoder.norm.weight"]
    rates = own_rates(names, FinetuneConfig(learning_rate=1.0, layer_decay=0.9))
    assert [rates.get(name, 1.0) for name in names] == pytest.approx([0.729, 0.81, 0.9, 1, 1])
