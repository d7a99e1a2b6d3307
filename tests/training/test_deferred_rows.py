"""Rows moved when they are read end where AdamW, which moves all of them at every step, has them."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tsrec.training.deferred_rows import DeferredAdamW, clip_gradients, defer_rows

N_ROWS, WIDTH = 60, 5


class Table(nn.Module):
    """Reads some rows of a table, each once, and predicts a number from each."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rows = nn.Embedding(N_ROWS, WIDTH, sparse=sparse)
        self.head = nn.Linear(WIDTH, 1)

    def loss(self, ids: Tensor, wanted: Tensor) -> Tensor:
        return functional.mse_loss(self.head(self.rows(ids))[:, 0], wanted)


def _steps(n_steps: int, seed: int = 3) -> list[tuple[Tensor, Tensor]]:
    """Few rows a step, the first ones often and the last ones hardly ever or never."""
    random = np.random.default_rng(seed)
    shares = np.append(np.geomspace(1, 1e-4, N_ROWS - 1), 0)
    return [
        (
            torch.from_numpy(random.choice(N_ROWS, 4, replace=False, p=shares / shares.sum())),
            torch.from_numpy(random.normal(size=4)).float(),
        )
        for _ in range(n_steps)
    ]


def _trained(model: Table, steps: list[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + 0.01 * step))
    for ids, wanted in steps:
        optimizer.zero_grad()
        model.loss(ids, wanted).backward()
        clip_gradients(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()


def _deferred(model: Table, **options: Any) -> DeferredAdamW:
    optimizer = DeferredAdamW(model.parameters(), **options)
    defer_rows(model, optimizer)
    return optimizer


@pytest.mark.parametrize("n_steps", [1, 7, 400])
@pytest.mark.parametrize("options", [{"lr": 0.05, "weight_decay": 0.1}, {"lr": 0.02, "betas": (0.7, 0.95)}])
def test_it_ends_where_adamw_does(n_steps: int, options: dict[str, Any]) -> None:
    dense, sparse = Table(sparse=False), Table(sparse=True)
    _trained(dense, _steps(n_steps), torch.optim.AdamW(dense.parameters(), **options))
    optimizer = _deferred(sparse, **options)
    _trained(sparse, _steps(n_steps), optimizer)
    behind = (sparse.rows.weight - dense.rows.weight).abs().max()
    optimizer.catch_up_all()
    assert behind > 1e-4  # the rows not read lately
    torch.testing.assert_close(sparse.rows.weight, dense.rows.weight, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(sparse.head.weight, dense.head.weight, atol=2e-5, rtol=1e-4)


def test_a_step_touches_only_the_rows_that_it_reads() -> None:
    model = Table(sparse=True)
    optimizer = _deferred(model, lr=0.05)
    steps = _steps(20)
    _trained(model, steps[:-1], optimizer)
    before = copy.deepcopy(model.rows.weight.detach())
    _trained(model, steps[-1:], optimizer)
    changed = (model.rows.weight != before).any(dim=1).nonzero()[:, 0]
    assert changed.tolist() == sorted(steps[-1][0].tolist())


def test_a_saved_optimizer_goes_on_with_the_same_bytes() -> None:
    steps, options = _steps(60), {"lr": 0.05, "weight_decay": 0.1}
    models = [Table(sparse=True), Table(sparse=True)]
    for model in models:
        optimizer = _deferred(model, **options)
        _trained(model, steps[:30], optimizer)
        optimizer.catch_up_all()
        if model is models[1]:
            state = optimizer.state_dict()
            optimizer = DeferredAdamW(model.parameters(), **options)
            for hook in [module._forward_pre_hooks for module in model.modules()]:
                hook.clear()
            defer_rows(model, optimizer)
            optimizer.load_state_dict(state)
        _trained(model, steps[30:], optimizer)
        optimizer.catch_up_all()
    assert torch.equal(models[0].rows.weight, models[1].rows.weight)


@pytest.mark.parametrize("max_norm", [0.01, 100.0])
def test_clipping_is_that_of_dense_gradients(max_norm: float) -> None:
    dense, sparse = Table(sparse=False), Table(sparse=True)
    ids, wanted = torch.tensor([3, 5, 3, 9]), torch.ones(4)
    norms = []
    for model, clip in ((dense, nn.utils.clip_grad_norm_), (sparse, clip_gradients)):
        model.loss(ids, wanted).backward()
        norms.append(clip(model.parameters(), max_norm))
    torch.testing.assert_close(norms[0], norms[1])
    gradient = sparse.rows.weight.grad
    assert gradient is not None and gradient.is_sparse
    torch.testing.assert_close(gradient.to_dense(), dense.rows.weight.grad)
