"""The interface of a model to a beam search, and its implementation for a causal LM of transformers. Knows no tries."""

from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tsrec.errors import ConfigError
from tsrec.llm.causal_lm import OutputHead, max_tokens
from tsrec.sid.space import SidSpace


class SidWriter(Protocol):
    """A model that writes SIDs: SID token i of `space` has the id `first_sid_id + i`; it sees `max_tokens` tokens."""

    space: SidSpace
    first_sid_id: int
    max_tokens: int | None
    device: torch.device

    def hidden(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """Last hidden states (U, T, D) of new tokens (U, T); the cache grows by T. `mask` is (U, T, keys) bool."""
        ...

    def level_logits(self, hidden: Tensor, level: int) -> Tensor:
        """Logits (U, B, codes of the level) of hidden states (U, B, D), float32."""
        ...


def cached_hidden(
    decoder: Any,
    positions: Tensor,
    mask: Tensor,
    cache: DynamicCache,
    autocast: torch.dtype | None,
    **tokens: Tensor,
) -> Tensor:
    """`SidWriter.hidden` by a decoder of transformers; `tokens` are its `input_ids` or `inputs_embeds`."""
    with torch.autocast(positions.device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        states: Tensor = decoder(
            position_ids=positions, attention_mask=mask[:, None], past_key_values=cache, use_cache=True, **tokens
        ).last_hidden_state
    return states


class ExportedModel:
    """A plain causal LM whose vocabulary holds the SID tokens, loaded with attn_implementation="sdpa".

    Args:
        model: the model.
        space: codes of every level.
        first_sid_id: token id of SID token 0; the others follow in flat order.
        autocast: dtype of matrix products, or None for the model's own.

    Raises:
        ConfigError: the model has another attention implementation, which would read the boolean mask otherwise.
    """

    def __init__(
        self, model: PreTrainedModel, space: SidSpace, first_sid_id: int, autocast: torch.dtype | None = None
    ) -> None:
        attention = model.config._attn_implementation
        if attention != "sdpa":
            raise ConfigError(
                f"load the model with attn_implementation='sdpa', not {attention!r}: beams need its masks"
            )
        self.space, self.first_sid_id, self._autocast = space, first_sid_id, autocast
        self.max_tokens = max_tokens(model.config)
        layer = model.get_output_embeddings()
        self.device: torch.device = layer.weight.device
        self._decoder, self._head = model.get_decoder(), OutputHead(model)
        places = [
            slice(first_sid_id + offset, first_sid_id + offset + size)
            for offset, size in zip(space.offsets, space.sizes, strict=True)
        ]
        self._rows = [layer.weight[place].detach().float() for place in places]
        self._biases = [None if layer.bias is None else layer.bias[place].detach().float() for place in places]

    def hidden(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """See `SidWriter`."""
        return cached_hidden(self._decoder, positions, mask, cache, self._autocast, input_ids=ids)

    def level_logits(self, hidden: Tensor, level: int) -> Tensor:
        """See `SidWriter`."""
        return self._head.logits(hidden.float(), self._rows[level], self._biases[level])
