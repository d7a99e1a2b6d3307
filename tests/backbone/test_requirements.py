"""A model that cannot be trained and decoded here is refused by the backbone stage, in words."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, BertConfig, BloomConfig, FalconMambaConfig, PreTrainedConfig

from tests.model_families import GEMMA2, save_model
from tsrec.backbone import STAGE
from tsrec.config import BackboneConfig
from tsrec.errors import ConfigError
from tsrec.store import ArtifactWriter

_BERT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
_MAMBA = {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}


def _refused(folder: Path, tmp_path: Path, match: str) -> None:
    out = ArtifactWriter(tmp_path / "artifact")
    with pytest.raises(ConfigError, match=match):
        STAGE.run(BackboneConfig(model=str(folder), n_layers=None), {}, out)
    assert not (tmp_path / "artifact").exists()  # before anything is written


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        (GEMMA2, "attends by 'eager': it does not support torch's scaled_dot_product_attention"),
        ((BertConfig, {**_BERT, "initializer_range": 0.2}), "computes something else for packed sequences"),
        (
            (BloomConfig, {"hidden_size": 32, "n_layer": 1, "n_head": 2}),
            "attends by|cannot be run|computes something else",
        ),
        ((FalconMambaConfig, _MAMBA), "attends by|cannot be run|computes something else"),
    ],
)
def test_a_model_without_what_it_takes(
    family: tuple[type[PreTrainedConfig], dict[str, object]], reason: str, tiny_backbone: Path, tmp_path: Path
) -> None:
    folder = save_model(tmp_path / "model", tiny_backbone, family)
    _refused(folder, tmp_path, rf"backbone\.model '.*model' \(\w+\) ({reason})")


def test_a_tokenizer_without_bos_and_eos(tiny_backbone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in tiny_backbone.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.bos_token = tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    _refused(folder, tmp_path, "neither a BOS nor an EOS token")
