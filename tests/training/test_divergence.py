"""Training that diverges stops in words, whatever stops being a number first."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.training_run import N_TOKENS, TinyModel, mixture, recipe
from tsrec.errors import TrainingError
from tsrec.training.packing import Example
from tsrec.training.trainer import Recipe, train

TASKS = ("even", "odd")


def _train(model: TinyModel, settings: Recipe, work: Path, valid: list[Example] | None = None) -> None:
    train(model, mixture(16, 1), valid or [], settings, work, TASKS, pad_id=0)


def _model() -> TinyModel:
    torch.manual_seed(0)
    return TinyModel()


def test_a_loss_that_is_no_number_names_step_task_rate_and_remedy(tmp_path: Path) -> None:
    settings = recipe(learning_rate=1e30, warmup_steps=0, max_grad_norm=1e9, advice="lower finetune.learning_rate")
    with pytest.raises(TrainingError, match=r"step 2 at learning rate .*\((even|odd) (nan|inf).*; lower finetune\.lea"):
        _train(_model(), settings, tmp_path)


def test_a_gradient_that_is_no_number(tmp_path: Path) -> None:
    class Steep(TinyModel):
        """The loss stays finite; the root's slope at 0 is not."""

        def forward(self, *arguments: Tensor, **options: Tensor) -> dict[str, Tensor]:
            outputs = super().forward(*arguments, **options)
            return {**outputs, "loss": outputs["loss"] + 0 * (0 * self.head.weight.sum()).abs().sqrt()}

    with pytest.raises(TrainingError, match=r"training, step 1 .* the norm of the gradient is nan; lower the learning"):
        _train(Steep(), recipe(), tmp_path)
    assert not list(tmp_path.glob("checkpoints/*"))  # nothing to resume from


def test_steps_are_read_before_one_fails_elsewhere(tmp_path: Path) -> None:
    class Strict(TinyModel):
        """As beams do, it refuses weights that are no numbers, but not in words of training."""

        def forward(self, *arguments: Tensor, **options: Tensor) -> dict[str, Tensor]:
            if not torch.isfinite(self.head.weight).all():
                raise ValueError("no numbers")
            return super().forward(*arguments, **options)

    settings = recipe(learning_rate=1e30, warmup_steps=0, max_grad_norm=1e9, evals_per_epoch=1)
    with pytest.raises(TrainingError, match="training, step 2 at learning rate"):
        _train(Strict(), settings, tmp_path)


def test_a_loss_on_valid_that_is_no_number(tmp_path: Path) -> None:
    model = _model()
    with torch.no_grad():
        model.rows.weight[0] = 3e38  # finite, and its logits are not; no train example holds token 0
    valid = [Example(np.array([0]), np.array([N_TOKENS - 1]), 1)]
    with pytest.raises(TrainingError, match=r"evaluation after step 1 of training, on valid: .*\(odd (nan|inf)\)"):
        _train(model, recipe(), tmp_path, valid)


def test_weights_that_overflow_in_the_last_step(tmp_path: Path) -> None:
    settings = recipe(learning_rate=1e38, warmup_steps=0, batch_size=32, weight_decay=100.0)
    with pytest.raises(TrainingError, match=r"after the last step: .* of .* numbers in \w+\.\w+ are not finite"):
        _train(_model(), settings, tmp_path)


def test_a_broken_model_is_not_trained(tmp_path: Path) -> None:
    model = _model()
    with torch.no_grad():
        model.head.bias[3] = torch.nan
    with pytest.raises(TrainingError, match=r"before the first step: 1 of 12 numbers in head\.bias are not finite"):
        _train(model, recipe(), tmp_path)
    assert not list(tmp_path.iterdir())
