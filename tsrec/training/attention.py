"""Hidden states of packed rows, on a processor without their padding, and with attention as plain batched products.

torch's `scaled_dot_product_attention` is slow on a processor where rows are short and have a dense mask, above all in
its backward pass: two matrix products and a softmax take a third of its time (`benchmarks/training_step.py`). Layers
get all tokens of a batch as one sequence. Attention alone sees them in rows, whose mask says where they lie.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from tsrec.training.packing import packed_attention_mask

_NAME = "packed_rows"


def attend_by_rows(decoder: Any) -> None:
    """Have a decoder of transformers, loaded with sdpa, take the fast way in `packed_states`; else it attends by sdpa.

    A family that does not let its attention be chosen stays as it is.
    """
    if getattr(decoder, "_supports_attention_backend", False):
        decoder.config._attn_implementation = _NAME


def packed_states(
    decoder: Any,
    embedded: Tensor,
    position_ids: Tensor,
    segment_ids: Tensor,
    wanted: Tensor,
    forks: Tensor | None = None,
) -> Tensor:
    """(N, D) last hidden states of the N tokens that are wanted, row by row.

    Args:
        decoder: of transformers, after `attend_by_rows`. On a GPU, where sdpa is fast, it gets rows with their padding.
        embedded: (B, T, D) input embeddings.
        position_ids, segment_ids, forks: (B, T), as of `pack`.
        wanted: (B, T) bool; no padding is.
    """
    mask = packed_attention_mask(segment_ids, position_ids, forks)
    if decoder.config._attn_implementation == _NAME and embedded.device.type == "cpu":
        is_token = segment_ids > 0
        mask &= is_token[:, None, :, None]
        embedded, position_ids, wanted = (part[is_token][None] for part in (embedded, position_ids, wanted))
    hidden = decoder(inputs_embeds=embedded, position_ids=position_ids, attention_mask=mask, use_cache=False)
    states: Tensor = hidden.last_hidden_state[wanted]
    return states


def rows_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention of N tokens that lie in B rows of T places, as transformers asks for it (`AttentionInterface`).

    Args:
        module: the layer.
        query: (1, H, N, d).
        key, value: (1, K, N, d); K divides H.
        attention_mask: (B, 1, T, T) bool, True where attention is allowed. A place that does not see itself is padding.
            Any other, such as one of the queries and keys themselves, is left to sdpa.
        scaling: of the scores; None: 1 / sqrt(d).
        dropout: share of the weights that are dropped.
        softcap: of the scores, as Gemma 2 has it.

    Returns:
        (1, N, H, d), and no weights.
    """
    seen = (query.shape[0], query.shape[2], key.shape[2])
    if attention_mask is None or seen == (attention_mask.shape[0], *attention_mask.shape[2:]):
        options = more if softcap is None else {**more, "softcap": softcap}
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
    (_, n_heads, n_tokens, width), n_groups = query.shape, key.shape[1]
    n_rows, _, length, _ = attention_mask.shape
    places = attention_mask[:, 0].diagonal(dim1=1, dim2=2).reshape(-1).nonzero()[:, 0]  # (N,) in B * T
    tokens = places.new_zeros(n_rows * length)  # padding has the first token's values, which nothing sees
    tokens[places] = torch.arange(n_tokens, device=places.device)
    bias = (~attention_mask).to(value.dtype).transpose(1, 2) * torch.finfo(value.dtype).min  # (B, T, 1, T)
    # A group's heads share its keys: one product of all their queries, place by place, with them.
    with torch.autocast(query.device.type, enabled=False):
        queries, keys, values = (
            _ToRows.apply(_by_group(part.to(value.dtype), n_groups), tokens, places).view(n_groups * n_rows, -1, width)
            for part in (query, key, value)
        )
        scores = torch.bmm(queries * (width**-0.5 if scaling is None else scaling), keys.transpose(1, 2))
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        # In place behind autograd's back: what is added is constant, and no gradient needs the scores without it.
        by_head = scores.detach().view(n_groups, n_rows, length, n_heads // n_groups, length)
        by_head += bias
        weights = nn.functional.dropout(torch.softmax(scores, dim=-1), dropout)
        mixed = torch.bmm(weights, values).view(n_groups, n_rows * length, -1)
        states = mixed.index_select(1, places)  # (K, N, H / K * d)
    return states.transpose(0, 1).reshape(1, n_tokens, n_heads, width), None


def _by_group(states: Tensor, n_groups: int) -> Tensor:
    """(K, N, H / K * d) of (1, H, N, d)."""
    return states[0].transpose(0, 1).reshape(states.shape[2], n_groups, -1).transpose(0, 1)


class _ToRows(torch.autograd.Function):
    """(K, B * T, C) of (K, N, C): what lies at each place. No gradient comes from padding, so none is added up."""

    @staticmethod
    def forward(context: Any, states: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        context.save_for_backward(places)
        return states.index_select(1, tokens)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (places,) = context.saved_tensors
        return gradient.index_select(1, places), None, None


AttentionInterface.register(_NAME, rows_attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)
