"""Losses that do not keep all logits, against the plain cross-entropy over all of them."""

import pytest
import torch
from torch.nn import functional

from tsrec.training import losses

N, V, D = 12, 30, 8


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States (N, D), rows (V, D), both with gradients, and labels (N,)."""
    torch.manual_seed(1)
    return torch.randn(N, D, requires_grad=True), torch.randn(V, D, requires_grad=True), torch.randint(0, V, (N,))


@pytest.mark.parametrize("at_once", [16_000_000, 2 * V])
def test_a_sample_of_all_rows_gives_the_whole_cross_entropy_and_its_gradient(
    tensors: tuple[torch.Tensor, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_LOGITS_AT_ONCE", at_once)
    hidden, rows, labels = tensors
    plain = functional.cross_entropy(hidden @ rows.T, labels, reduction="none")
    wanted = torch.autograd.grad(plain.sum(), (hidden, rows))
    chunked = losses.chunked_cross_entropy(hidden, rows, labels)
    sampled = losses.sampled_cross_entropy(hidden, rows, labels, torch.randperm(V), torch.zeros(V))
    for found in (chunked, sampled):
        torch.testing.assert_close(found, plain)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), (hidden, rows)), wanted)


def test_on_average_a_sample_stands_for_all_rows(tensors: tuple[torch.Tensor, ...]) -> None:
    """The estimated sum of exponentials is unbiased, however unevenly rows are drawn."""
    hidden, rows, labels = (tensor.detach() for tensor in tensors)
    shares = torch.rand(V) + 0.2
    shares /= shares.sum()
    own = (hidden * rows[labels]).sum(dim=1)
    draws = [torch.multinomial(shares, 20, replacement=True) for _ in range(4000)]
    totals = [
        (losses.sampled_cross_entropy(hidden, rows, labels, drawn, (20 * shares[drawn]).log()) + own).exp()
        for drawn in draws
    ]
    torch.testing.assert_close(torch.stack(totals).mean(dim=0), (hidden @ rows.T).exp().sum(dim=1), rtol=0.1, atol=0)
