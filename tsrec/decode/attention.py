"""Attention over grouped keys and values without copies of them, for decoders of transformers.

Several heads can share keys and values. With a mask, transformers then gives torch a copy of them for each head. Here
the heads that share them are rows of one matrix product. Knows nothing of beams.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "tsrec_grouped"  # the name under which transformers finds this attention


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """`mask` (bool, any shape) as numbers to add to scores: 0 where it is true, -inf elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def grouped_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention with the signature of transformers' `AttentionInterface`.

    Without a mask, with a boolean one, or with a cap on scores, torch's attention is called instead.

    Args:
        module: the layer.
        query: (U, heads, T, D).
        key, value: (U, KV heads, keys, D); KV heads divide heads.
        attention_mask: (U, 1, T, keys) floats, added to the scores.
        options: `scaling`, a factor of the scores, and what else transformers passes.

    Returns:
        Attended values (U, T, heads, D), and None for the weights.
    """
    capped = options.get("softcap") is not None or options.get("position_bias") is not None
    if attention_mask is None or attention_mask.dtype == torch.bool or capped:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    n_users, n_heads, n_new, width = query.shape
    n_groups, n_keys = key.shape[1:3]
    grouped = (query * options["scaling"]).reshape(n_users, n_groups, -1, width)
    scores = (grouped @ key.mT).view(n_users, n_groups, -1, n_new, n_keys).add_(attention_mask[:, None])
    weights = scores.softmax(dim=-1)  # torch computes it in float32 inside, whatever the dtype
    attended = weights.view(n_users, n_groups, -1, n_keys) @ value
    return attended.view(n_users, n_heads, n_new, -1).transpose(1, 2), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
