"""Attention over grouped keys and values without copies of them, for decoders of transformers.

Where several heads share keys and values and a mask is given, torch's attention is handed a copy of the keys and values
for each head. Here the heads that share them are further rows of one product. Knows nothing of beams.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "tsrec_grouped"  # the name of this attention to transformers


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to be added to scores: 0 where `mask`, of any shape, is true, -inf elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)


def grouped_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention of (U, heads, T, D) queries to (U, KV heads, keys, D), as transformers asks for it: (U, T, heads, D).

    `attention_mask` (U, 1, T, keys) is added to the scores. Whatever else is asked for is left to torch's attention: no
    mask, a boolean one, a cap on scores.
    """
    capped = options.get("softcap") is not None or options.get("position_bias") is not None
    if attention_mask is None or attention_mask.dtype == torch.bool or capped:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    n_users, n_heads, n_new, width = query.shape
    n_groups, n_keys = key.shape[1:3]
    grouped = (query * options["scaling"]).reshape(n_users, n_groups, -1, width)
    scores = (grouped @ key.mT).view(n_users, n_groups, -1, n_new, n_keys).add_(attention_mask[:, None])
    weights = scores.softmax(dim=-1)  # in float32 inside, whatever the dtype
    attended = weights.view(n_users, n_groups, -1, n_keys) @ value
    return attended.view(n_users, n_heads, n_new, -1).transpose(1, 2), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
