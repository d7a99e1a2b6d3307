"""The interface of a model to a beam search, and its implementation for a causal LM of transformers. Knows no tries."""

from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tsrec.decode.attention import GROUPED, additive
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


def cached_hidden(decoder: Any, positions: Tensor, mask: Tensor, cache: DynamicCache, **tokens: Tensor) -> Tensor:
    """`SidWriter.hidden` by a decoder of transformers, its mask as its attention reads it; `tokens` are its `input_ids`
    or `inputs_embeds`."""
    states: Tensor = decoder(
        position_ids=positions, attention_mask=mask[:, None], past_key_values=cache, use_cache=True, **tokens
    ).last_hidden_state
    return states


class ExportedModel:
    """A plain causal LM whose vocabulary holds the SID tokens, loaded with attn_implementation="sdpa".

    It computes in the dtype of its weights. Its attention becomes `tsrec.decode.attention`, which gives the same up to
    rounding.

    Args:
        model: the model.
        space: codes of every level.
        first_sid_id: token id of SID token 0; the others follow in flat order.

    Raises:
        ConfigError: the model has another attention implementation, which would read the boolean mask otherwise.
    """

    def __init__(self, model: PreTrainedModel, space: SidSpace, first_sid_id: int) -> None:
        attention = model.config._attn_implementation
        if attention not in ("sdpa", GROUPED):
            raise ConfigError(
                f"load the model with attn_implementation='sdpa', not {attention!r}: beams need its masks"
            )
        model.set_attn_implementation(GROUPED)
        self.space, self.first_sid_id = space, first_sid_id
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
        return cached_hidden(self._decoder, positions, additive(mask, self._decoder.dtype), cache, input_ids=ids)

    def level_logits(self, hidden: Tensor, level: int) -> Tensor:
        """See `SidWriter`."""
        return self._head.logits(hidden.float(), self._rows[level], self._biases[level])
