"""Training stops where a loss, a gradient or a weight is not finite (NaN or infinity).

Losses and norms of a step stay on their device, and are read some steps later: a GPU has to be waited for.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tsrec.errors import TrainingError


class UnreadSteps:
    """What steps of training gave and nobody has read yet.

    Args:
        task_names: of the run.
        when: what messages call a step, of its number and its learning rate.
        advice: what to change where training diverges.
    """

    def __init__(self, task_names: Sequence[str], when: Callable[[int, float], str], advice: str) -> None:
        self._task_names, self._when, self._advice = task_names, when, advice
        self._steps: list[tuple[int, float, Tensor, Tensor]] = []

    def __len__(self) -> int:
        """Number of steps."""
        return len(self._steps)

    def add(self, step: int, rate: float, losses: Tensor, norm: Tensor) -> None:
        """Keep a step's sums of losses (tasks,), and the norm of its gradient."""
        self._steps.append((step, rate, losses, norm))

    def check(self) -> None:
        """Read all steps.

        Raises:
            TrainingError: the first step with a loss or a gradient that is not finite.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return
        losses = torch.stack([losses for _, _, losses, _ in steps]).tolist()
        norms = torch.stack([norm for *_, norm in steps]).tolist()
        for (step, rate, *_), step_losses, norm in zip(steps, losses, norms, strict=True):
            check_losses(step_losses, self._task_names, self._when(step, rate), self._advice)
            if not math.isfinite(norm):
                when = self._when(step, rate)
                raise TrainingError(f"{when}: the norm of the gradient is {norm}; {self._advice}")


def check_losses(sums: Sequence[float], task_names: Sequence[str], when: str, advice: str) -> None:
    """Refuse sums of losses, one a task, of which some is not finite. `when` says where training stands.

    Raises:
        TrainingError: naming the tasks.
    """
    bad = {name: value for name, value in zip(task_names, sums, strict=True) if not math.isfinite(value)}
    if bad:
        losses = ", ".join(f"{name} {value}" for name, value in bad.items())
        raise TrainingError(f"{when}: the loss is no number any more ({losses}); {advice}")


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
