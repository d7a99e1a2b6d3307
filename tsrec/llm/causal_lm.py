"""What training and decoding both ask of a causal LM: to embed any rows as its own layer does, and to score hidden
states as its own head does.

The model's own code does both, so a scale on its embeddings (Gemma), on its logits (Granite, Cohere), a soft cap or a
bias is trained, exported and decoded alike, without a list of families here. Knows nothing of SIDs.
"""

import copy
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedConfig, PreTrainedModel


def embed(embedding: nn.Module, rows: Tensor, ids: Tensor) -> Tensor:
    """What the layer `embedding` gives for token ids (...) where `rows` (N, D) are its weights: (..., D)."""
    embedded: Tensor = functional_call(embedding, {"weight": rows}, (ids,))
    return embedded


class OutputHead:
    """A causal LM's way from last hidden states to logits: all that it does after its decoder.

    It shares the model's layers and holds none of its own. Make a new one when the vocabulary is resized.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        decoder, head = model.get_decoder(), model.get_output_embeddings()
        holder = next(name for name, child in model.named_children() if decoder in child.modules())
        self._name = next(name for name, layer in model.named_modules() if layer is head)
        self._has_bias = getattr(head, "bias", None) is not None
        # A shallow copy whose decoder hands on what it is given; the model itself stays as it is.
        self._model = copy.copy(model)
        self._model.__dict__["_modules"] = {**model._modules, holder: _GivenStates()}

    def logits(self, hidden: Tensor, rows: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """Logits (..., V) of last hidden states (..., D).

        Args:
            hidden: one to three axes.
            rows: (V, D) to score in place of the model's whole vocabulary.
            bias: (V,) of these rows; none: zeros.
        """
        weights = {}
        if rows is not None:
            weights[f"{self._name}.weight"] = rows
            if self._has_bias:
                weights[f"{self._name}.bias"] = rows.new_zeros(len(rows)) if bias is None else bias
        batch = hidden if hidden.ndim == 3 else hidden[None]
        scored: Tensor = functional_call(self._model, weights, (), {"inputs_embeds": batch, "use_cache": False}).logits
        return scored if hidden.ndim == 3 else scored[0]


class _GivenStates(nn.Module):
    """Stands where the decoder was: the states that go in come out."""

    @property
    def decoder(self) -> "_GivenStates":
        """Some models (OPT) reach for the decoder inside their base model."""
        return self

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> "_Outputs":
        return _Outputs(inputs_embeds)


class _Outputs:
    """A decoder's outputs without caches, attentions or anything else."""

    def __init__(self, hidden: Tensor) -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, place: Any) -> Any:
        return (self.last_hidden_state,)[place]

    def __getattr__(self, name: str) -> None:
        return None


def max_tokens(config: PreTrainedConfig) -> int | None:
    """The longest sequence that a model sees whole: its positions, or its sliding window; None: no such limit."""
    limits = [getattr(config, "max_position_embeddings", None)]
    if "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"]):
        limits.append(getattr(config, "sliding_window", None))
    return min((limit for limit in limits if limit), default=None)
