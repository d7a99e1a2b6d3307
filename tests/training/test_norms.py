"""The fast norm gives the states and gradients of the layer's own code, and stands in for nothing else."""

import copy

import torch
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tsrec.training.norms import _RmsNorm, use_fast_norms


def _norm() -> LlamaRMSNorm:
    torch.manual_seed(0)
    norm = LlamaRMSNorm(24, eps=1e-3)
    nn.init.normal_(norm.weight)
    return norm


def test_states_and_gradients_are_those_of_the_layers_own_code() -> None:
    plain = _norm()
    fast = copy.deepcopy(plain)
    use_fast_norms(fast)
    states = (torch.randn(3, 7, 24) * torch.logspace(-3, 1, 7)[:, None]).requires_grad_()
    upstream = torch.randn(3, 7, 24)
    found = [
        (layer(states).detach(), *torch.autograd.grad(layer(states), (states, layer.weight), upstream))
        for layer in (fast, plain)
    ]
    assert "_RmsNorm" in type(fast(states).grad_fn).__name__
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_derivatives_are_right() -> None:
    """Against differences, in float64: beyond what float32 lets the layer's own code tell."""

    states, weight = torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    inputs = (states.requires_grad_(), weight.requires_grad_(), 1e-3)
    assert torch.autograd.gradcheck(_RmsNorm.apply, inputs)


def test_a_copy_uses_its_own_weights() -> None:
    norm = _norm()
    use_fast_norms(norm)
    other = copy.deepcopy(norm)
    with torch.no_grad():
        other.weight.zero_()
    assert not other(torch.ones(2, 24)).any() and norm(torch.ones(2, 24)).any()


def test_other_norms_and_other_numbers_stay_with_the_layers_own_code() -> None:
    gemma, norm = GemmaRMSNorm(24), _norm()
    use_fast_norms(gemma)  # it multiplies by 1 + w
    use_fast_norms(nn.LayerNorm(24))
    assert "forward" not in vars(gemma)
    expected = norm(torch.ones(2, 24, dtype=torch.bfloat16))
    use_fast_norms(norm)
    found = norm(torch.ones(2, 24, dtype=torch.bfloat16))
    assert found.dtype == expected.dtype and torch.equal(found, expected)
