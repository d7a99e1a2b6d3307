"""The fast way through a decoder gives what the plain one gives: states and gradients, with padding and branches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaModel

from tests.training.test_packing import branched
from tsrec.training import attention
from tsrec.training.attention import attend_by_rows, packed_states
from tsrec.training.packing import IGNORED, Example, pack, packed_attention_mask


@pytest.fixture(scope="module")
def decoder() -> LlamaModel:
    """Four heads, of which two share their keys."""
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,  # attention far from uniform
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = LlamaModel(config)
    attend_by_rows(decoder)
    return decoder


# The decoder's own way: a mask of the very rows that it gets is left to sdpa.
def _plain_states(decoder: LlamaModel, embedded: Tensor, batch: dict[str, Tensor], wanted: Tensor) -> Tensor:
    mask = packed_attention_mask(batch["segment_ids"], batch["position_ids"], batch.get("forks"))
    hidden = decoder(inputs_embeds=embedded, position_ids=batch["position_ids"], attention_mask=mask, use_cache=False)
    return hidden.last_hidden_state[wanted]


def _fast_states(decoder: LlamaModel, embedded: Tensor, batch: dict[str, Tensor], wanted: Tensor) -> Tensor:
    positions, segments = batch["position_ids"], batch["segment_ids"]
    return packed_states(decoder, embedded, positions, segments, wanted, batch.get("forks"))


def _with_gradients(states: Tensor, decoder: LlamaModel, embedded: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, states.numel()).view_as(states)
    inputs = [embedded, *(parameter for name, parameter in decoder.named_parameters() if "embed" not in name)]
    return [states.detach(), *torch.autograd.grad((states * weights).sum(), inputs)]


@settings(max_examples=25)
@given(st.lists(branched(), min_size=1, max_size=4))
def test_states_and_gradients_are_those_of_plain_rows(decoder: LlamaModel, examples: list[Example]) -> None:
    batch = pack(examples, pad_id=0, min_row=1)
    embedded = decoder.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    wanted = batch["labels"] % 3 != 0  # some tokens, and no padding
    wanted &= batch["labels"] != IGNORED
    fast = _with_gradients(_fast_states(decoder, embedded, batch, wanted), decoder, embedded)
    plain = _with_gradients(_plain_states(decoder, embedded, batch, wanted), decoder, embedded)
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)


def _batch() -> dict[str, Tensor]:
    ids = torch.arange(1, 40).numpy()
    return pack([Example(ids[:n], ids[:n], 0) for n in (39, 20, 9, 7)], pad_id=0, min_row=1)


def test_in_bfloat16_it_is_as_close_to_float32_as_the_plain_way(decoder: LlamaModel) -> None:
    batch = _batch()
    embedded, wanted = decoder.get_input_embeddings()(batch["input_ids"]).detach(), batch["segment_ids"] > 0
    exact = _plain_states(decoder, embedded, batch, wanted)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        errors = [
            float((states(decoder, embedded, batch, wanted) - exact).norm()) for states in (_plain_states, _fast_states)
        ]
    assert errors[1] < 1.2 * errors[0]


def test_layers_see_no_padding(decoder: LlamaModel) -> None:
    seen: list[int] = []
    hook = decoder.layers[0].mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    batch = _batch()
    embedded = decoder.get_input_embeddings()(batch["input_ids"])
    _fast_states(decoder, embedded, batch, batch["segment_ids"] > 0)
    hook.remove()
    assert seen == [39 + 20 + 9 + 7] and batch["segment_ids"].numel() > 75


@pytest.mark.parametrize("sizes", [(39, 20, 9, 7), (39, 39), (3,)])
def test_padding_that_rounds_the_number_of_tokens_changes_nothing(
    decoder: LlamaModel, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.arange(1, 40).numpy()
    batch = pack([Example(ids[:n], ids[:n], 0) for n in sizes], pad_id=0, min_row=48)
    embedded = decoder.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    wanted = batch["segment_ids"] > 0
    plain = _with_gradients(_fast_states(decoder, embedded, batch, wanted), decoder, embedded)
    seen: list[int] = []
    hook = decoder.layers[0].mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    monkeypatch.setattr(attention, "rows_of_product", lambda n: -(-n // 8) * 8)
    rounded = _with_gradients(_fast_states(decoder, embedded, batch, wanted), decoder, embedded)
    hook.remove()
    assert seen == [min(-(-sum(sizes) // 8) * 8, batch["segment_ids"].numel())]
    torch.testing.assert_close(rounded, plain, atol=1e-5, rtol=1e-5)


def test_with_gradient_checkpointing_gradients_are_the_same(decoder: LlamaModel) -> None:
    batch = _batch()
    embedded = decoder.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    wanted = batch["segment_ids"] > 0
    decoder.train()
    fast = _with_gradients(_fast_states(decoder, embedded, batch, wanted), decoder, embedded)
    decoder.gradient_checkpointing_enable()
    again = _with_gradients(_fast_states(decoder, embedded, batch, wanted), decoder, embedded)
    decoder.gradient_checkpointing_disable()
    torch.testing.assert_close(fast, again, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("softcap", "dropout"), [(None, 0.0), (2.0, 0.0), (None, 0.5)])
def test_softcap_and_dropout(softcap: float | None, dropout: float) -> None:
    """Against a product written out; dropped weights are 0, and the others twice as large."""
    torch.manual_seed(1)
    query, key = torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 8)
    value = torch.eye(6, 8).expand(1, 2, 6, 8)  # so that what comes out are the weights
    mask = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    with_padding = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    with_padding[:, :, :6, :6] = mask
    mixed, _ = attention.rows_attention(torch.nn.Module(), query, key, value, with_padding, 0.4, dropout, softcap)
    scores = 0.4 * query @ key.transpose(2, 3)
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    found = mixed.transpose(1, 2)[..., :6]
    kept = found != 0
    torch.testing.assert_close(found[kept], (weights / (1 - dropout))[kept])
    assert (kept == mask).all() if not dropout else 0 < (mask & ~kept).sum() < mask.sum()
