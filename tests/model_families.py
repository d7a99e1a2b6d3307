"""Tiny random models of many families, each with the trait that tells it from a Llama; a folder each, as users have.

Every model is saved with the tiny tokenizer of `conftest.py` and read back, as the stages do.
"""

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Cohere2Config,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,  # far from uniform, so that a scale left out shows
}
_OPT = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "init_std": 0.2}
_GEMMA = {"head_dim": 16, "hidden_activation": "gelu"}

FAMILIES: dict[str, tuple[type[PreTrainedConfig], dict[str, object]]] = {
    "llama-tied": (LlamaConfig, {**_SHAPE, "tie_word_embeddings": True}),
    "llama-untied": (LlamaConfig, {**_SHAPE, "tie_word_embeddings": False}),
    "gemma": (GemmaConfig, {**_SHAPE, "head_dim": 16}),  # embeddings times sqrt(hidden)
    "gemma3": (Gemma3TextConfig, {**_SHAPE, **_GEMMA, "final_logit_softcapping": 5.0, "sliding_window": 128}),
    "granite": (GraniteConfig, {**_SHAPE, "embedding_multiplier": 3.0, "logits_scaling": 4.0}),
    "cohere": (CohereConfig, {**_SHAPE, "logit_scale": 0.25}),
    "cohere2": (Cohere2Config, {**_SHAPE, "logit_scale": 3.0, "sliding_window": 128}),
    "qwen2": (Qwen2Config, {**_SHAPE, "tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, {**_SHAPE, "head_dim": 16}),
    "mistral": (MistralConfig, {**_SHAPE, "sliding_window": 128}),
    "phi": (PhiConfig, _SHAPE),  # an output layer with a bias
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256, "initializer_range": 0.2}),
    "neox": (GPTNeoXConfig, _SHAPE),
    "opt": (OPTConfig, {**_OPT, "max_position_embeddings": 256}),
    "opt-projected": (OPTConfig, {**_OPT, "max_position_embeddings": 256, "word_embed_proj_dim": 16}),
}  # fmt: skip

GEMMA2 = (Gemma2Config, {**_SHAPE, **_GEMMA})  # soft-capped attention, which sdpa cannot do


def save_model(
    folder: Path, tokenizer_folder: Path, family: tuple[type[PreTrainedConfig], dict[str, object]], **changes: object
) -> Path:
    """Write a random model of `family` to `folder`, with an output bias that matters, and return the folder."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    kind, settings = family
    config = kind(
        vocab_size=len(tokenizer) + 3,  # surplus rows, as Qwen has
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{**settings, **changes},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
