"""Training stops where a loss, a gradient or a weight is not finite (NaN or infinity)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tsrec.errors import TrainingError


def check_losses(sums: Tensor, task_names: Sequence[str], when: str, advice: str) -> None:
    """Refuse sums of losses (tasks,) of which some is not finite. `when` says where training stands.

    Raises:
        TrainingError: naming the tasks.
    """
    bad = {name: float(value) for name, value in zip(task_names, sums, strict=True) if not torch.isfinite(value)}
    if bad:
        losses = ", ".join(f"{name} {value}" for name, value in bad.items())
        raise TrainingError(f"{when}: the loss is no number any more ({losses}); {advice}")


def check_gradient(norm: float, when: str, advice: str) -> None:
    """Refuse a gradient norm that is not finite. Raises TrainingError."""
    if not torch.isfinite(torch.tensor(norm)):
        raise TrainingError(f"{when}: the norm of the gradient is {norm}; {advice}")


def check_weights(model: nn.Module, when: str, advice: str) -> None:
    """Refuse a model of which some weight is not finite.

    Raises:
        TrainingError: naming the first such parameter.
    """
    for name, parameter in model.named_parameters():
        n_bad = parameter.numel() - int(torch.isfinite(parameter).sum())
        if n_bad:
            raise TrainingError(
                f"{when}: {n_bad:,} of {parameter.numel():,} numbers in {name} are not finite; {advice}"
            )
