"""AdamW for tables of which a step reads only some rows, such as the item vectors of a large catalogue.

AdamW moves every row at every step: by its momentum, which fades, and by weight decay. In a table of a million rows
that takes most of the step. Here a row gets what it has missed when it is next read, so a step costs what it reads.
The result is AdamW's but for rounding. torch's `SparseAdam` would leave out what a row missed, which is another method.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_NO_LONGER_FELT = 1e-9  # of a gradient's first pull; later pulls are left out


class DeferredAdamW(torch.optim.AdamW):
    """AdamW that moves the rows of sparse gradients (`nn.Embedding(sparse=True)`) alone, and others when they are read.

    Whoever reads rows of such a parameter calls `catch_up` before, or `catch_up_all`; `defer_rows` sees to it.
    """

    @torch.no_grad()
    def step(self, *arguments: Any, **options: Any) -> Any:
        """As torch's; a sparse gradient is gone afterwards."""
        sparse = [
            (group, parameter, parameter.grad)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter.grad.is_sparse
        ]
        for group, parameter, gradient in sparse:
            self._move(group, parameter, gradient.coalesce())
            parameter.grad = None  # AdamW refuses it
        return super().step(*arguments, **options)

    def _move(self, group: dict[str, Any], parameter: Tensor, gradient: Tensor) -> None:
        """One step of AdamW for the rows of a gradient."""
        state = self.state[parameter]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["moved"] = torch.zeros(len(parameter))  # the step that a row was last moved for; float as all of it
            # Of every step so far, and of one before the first: what it moves a row by, in units of m / sqrt(v) as
            # they are there, and the logarithm of what weight decay has left since the first.
            state["pulls"], state["log_kept"] = torch.zeros(1), torch.zeros(1)
            state["step"] = torch.tensor(0.0)
        rows, values = gradient.indices()[0], gradient.values()
        self._catch_up_rows(group, parameter, rows)
        beta1, beta2 = group["betas"]
        rate, step = float(group["lr"]), int(state["step"]) + 1
        kept = 1 - rate * group["weight_decay"]
        root = math.sqrt(1 - beta2**step)
        pull = rate * root / (1 - beta1**step)
        average = state["exp_avg"][rows].lerp_(values, 1 - beta1)
        square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        denominator = square.sqrt().add_(group["eps"] * root)
        parameter[rows] = (parameter[rows] * kept).addcdiv_(average, denominator, value=-pull)
        state["exp_avg"][rows], state["exp_avg_sq"][rows], state["moved"][rows] = average, square, float(step)
        state["pulls"] = torch.cat([state["pulls"], torch.tensor([pull])])
        state["log_kept"] = torch.cat([state["log_kept"], state["log_kept"][-1:] + math.log(kept)])
        state["step"] += 1

    @torch.no_grad()
    def catch_up(self, parameter: Tensor, rows: Tensor) -> None:
        """Give rows (R,) int64, each once, of a parameter (N, D) what steps without a gradient for them left out."""
        for group in self.param_groups:
            if any(parameter is own for own in group["params"]) and self.state[parameter]:
                self._catch_up_rows(group, parameter, rows)

    def catch_up_all(self) -> None:
        """Bring every row up to date, as they are to be before the weights are saved or used."""
        for parameter, state in list(self.state.items()):
            if "moved" in state:
                for rows in torch.arange(len(parameter)).split(100_000):  # bounds the copies
                    self.catch_up(parameter, rows)

    def _catch_up_rows(self, group: dict[str, Any], parameter: Tensor, rows: Tensor) -> None:
        state: dict[str, Tensor] = self.state[parameter]
        beta1, beta2 = group["betas"]
        now = int(state["step"])
        rows = rows[state["moved"][rows] < now]
        if not len(rows):
            return
        moved, which = state["moved"][rows].long().unique(return_inverse=True)
        missed = now - moved
        log_kept = state["log_kept"]
        fading = beta1 / math.sqrt(beta2)
        steps = torch.arange(1, min(int(missed.max()), math.ceil(math.log(_NO_LONGER_FELT) / math.log(fading))) + 1)
        at = (moved[:, None] + steps).clamp(max=now)  # (M, J) the steps that were missed
        pulls = state["pulls"][at] * fading**steps * (log_kept[-1] - log_kept[at]).exp()
        pull = (pulls * (steps <= missed[:, None])).sum(dim=1)[which, None]
        kept = (log_kept[-1] - log_kept[moved]).exp()[which, None]
        missed = missed[which, None]
        average, square = state["exp_avg"][rows], state["exp_avg_sq"][rows]
        epsilon = group["eps"] * (1 - beta2 ** (moved + 1)).sqrt()[which, None]
        parameter[rows] = parameter[rows] * kept - pull * average / (square.sqrt() + epsilon)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = average * beta1**missed, square * beta2**missed
        state["moved"][rows] = float(now)


def defer_rows(model: nn.Module, optimizer: DeferredAdamW) -> None:
    """Have the rows that a `sparse` embedding of the model is asked for brought up to date just before."""
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.sparse:

            def catch_up(own: nn.Module, arguments: tuple[Tensor, ...]) -> None:
                if own.training:
                    optimizer.catch_up(own.get_parameter("weight"), arguments[0].unique())

            module.register_forward_pre_hook(catch_up)


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """torch's `clip_grad_norm_`, which does not take sparse gradients: clips in place, and returns the norm before."""
    values = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad.values())
        elif parameter.grad is not None:
            values.append(parameter.grad)
    norm = nn.utils.get_total_norm(values)
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch has it
    for value in values:
        value.mul_(factor)
    return norm
