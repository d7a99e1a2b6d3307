"""Hidden states of packed rows, computed faster on a processor: without padding, and with attention written out.

torch's `scaled_dot_product_attention` is slow on a processor for short rows with a dense mask, above all backwards.
Two matrix products and a softmax take a third of its time (`benchmarks/training_step.py`). All other layers get the
tokens of a batch as one sequence, with at most as much padding as makes its length a round number (`product_shapes`).
Only attention puts them back into rows.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from tsrec.training.packing import packed_attention_mask
from tsrec.training.product_shapes import rows_of_product

_NAME = "packed_rows"


def attend_by_rows(decoder: Any) -> None:
    """Let `packed_states` use `rows_attention` in a decoder of transformers that was loaded with sdpa.

    Outside `packed_states` the decoder still attends by sdpa. Decoders whose attention cannot be replaced stay as they
    are.
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
    """Last hidden states (N, D) of the N tokens marked in `wanted`, row by row.

    Args:
        decoder: of transformers, after `attend_by_rows`. On a GPU, where sdpa is fast, it gets whole rows with padding.
        embedded: (B, T, D) input embeddings.
        position_ids, segment_ids, forks: (B, T), from `pack`.
        wanted: (B, T) bool; never true for padding.
    """
    mask = packed_attention_mask(segment_ids, position_ids, forks)
    if decoder.config._attn_implementation == _NAME and embedded.device.type == "cpu":
        kept = segment_ids > 0
        padding = (~kept).view(-1).nonzero()[:, 0]
        n_tokens = kept.numel() - len(padding)
        kept.view(-1)[padding[: rows_of_product(n_tokens) - n_tokens]] = True
        mask &= kept[:, None, :, None]
        embedded, position_ids, wanted = (part[kept][None] for part in (embedded, position_ids, wanted))
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
    """Attention of N tokens in B rows of T places. The signature is that of transformers' `AttentionInterface`.

    Args:
        module: the layer.
        query: (1, H, N, d).
        key, value: (1, K, N, d); K divides H.
        attention_mask: (B, 1, T, T) bool, True where attention is allowed. A place that does not see itself is padding.
            If the mask has the shape of the queries and keys instead, or is None, sdpa computes the attention.
        scaling: factor of the scores; None: 1 / sqrt(d).
        dropout: share of the attention weights that is set to zero.
        softcap: bound of the scores by tanh, as in Gemma 2; None: no bound.

    Returns:
        Attended values (1, N, H, d), and None for the weights.
    """
    seen = (query.shape[0], query.shape[2], key.shape[2])
    if attention_mask is None or seen == (attention_mask.shape[0], *attention_mask.shape[2:]):
        options = more if softcap is None else {**more, "softcap": softcap}
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
    (_, n_heads, n_tokens, width), n_groups = query.shape, key.shape[1]
    n_rows, _, length, _ = attention_mask.shape
    places = attention_mask[:, 0].diagonal(dim1=1, dim2=2).reshape(-1).nonzero()[:, 0]  # (N,) in B * T
    tokens = places.new_zeros(n_rows * length)  # padding gets the first token's values, which no token sees
    tokens[places] = torch.arange(n_tokens, device=places.device)
    bias = (~attention_mask).to(value.dtype).transpose(1, 2) * torch.finfo(value.dtype).min  # (B, T, 1, T)
    # Heads of a group share keys, so one product takes the queries of all of them.
    with torch.autocast(query.device.type, enabled=False):
        queries, keys, values = (
            _ToRows.apply(_by_group(part.to(value.dtype), n_groups), tokens, places).view(n_groups * n_rows, -1, width)
            for part in (query, key, value)
        )
        scores = torch.bmm(queries * (width**-0.5 if scaling is None else scaling), keys.transpose(1, 2))
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        # Added in place, unseen by autograd: the bias is constant, and no gradient needs the scores from before.
        by_head = scores.detach().view(n_groups, n_rows, length, n_heads // n_groups, length)
        by_head += bias
        weights = nn.functional.dropout(torch.softmax(scores, dim=-1), dropout)
        mixed = torch.bmm(weights, values).view(n_groups, n_rows * length, -1)
        states = mixed.index_select(1, places)  # (K, N, H / K * d)
    return states.transpose(0, 1).reshape(1, n_tokens, n_heads, width), None


def _by_group(states: Tensor, n_groups: int) -> Tensor:
    """(1, H, N, d) -> (K, N, H / K * d): the heads of each group side by side."""
    return states[0].transpose(0, 1).reshape(states.shape[2], n_groups, -1).transpose(0, 1)


class _ToRows(torch.autograd.Function):
    """(K, N, C) -> (K, B * T, C): the tokens in their places. Padding has no gradient, so none is summed backwards."""

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
