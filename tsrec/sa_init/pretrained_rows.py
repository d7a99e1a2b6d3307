"""The LLM's own input embeddings, read from a model folder without loading the model."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_KEY = "model.embed_tokens.weight"


def read_input_embeddings(folder: Path) -> np.ndarray:
    """(n_vocabulary, D) float32, whatever the dtype of the file."""
    file = folder / _WEIGHTS
    if (folder / _INDEX).exists():
        weight_map = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        file = folder / weight_map.get(_KEY, _WEIGHTS)
    if file.exists():
        with safe_open(file, framework="pt") as weights:
            if _KEY in weights.keys():  # noqa: SIM118 (not a mapping)
                return weights.get_tensor(_KEY).to(torch.float32).numpy()
    # Another architecture, which names its input embeddings otherwise (GPT-2: transformer.wte.weight).
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    return model.get_input_embeddings().state_dict()["weight"].to(torch.float32).numpy()
