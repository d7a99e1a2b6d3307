"""Training on transformers' Trainer, so that its callbacks, checkpoints and accelerate work; resumable after a kill.

Knows nothing of SIDs: it is handed a model that takes a packed batch and returns `loss`, `task_loss` and
`task_count`. Checkpoints (which hold optimizer state in torch's own format) live in the stage's work folder alone and
are gone when the stage is done.

Several processes (`processes`) train one model together, each on its share of every batch (`shares`). What is logged
and what decides are sums over all of them.

Four things of Trainer are not documented: `_clip_grad_norm` and `_get_grad_norm`, called before each step of the
optimizer, the state of `TrainerControl` in a checkpoint, and `_setup_devices`, which chooses the device. All were
checked with transformers 5.23.0. A test fails when they change.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_model
from torch import Tensor, distributed, nn
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import logging as transformers_logging

from tsrec.machine.devices import resolve_device, resolve_precision
from tsrec.machine.progress import progress
from tsrec.store import work_files
from tsrec.training.deferred_rows import DeferredAdamW, clip_gradients, defer_rows
from tsrec.training.divergence import UnreadSteps, check_losses, check_weights
from tsrec.training.mixture import TaskMixture
from tsrec.training.packing import Examples, pack
from tsrec.training.processes import from_first_process
from tsrec.training.shares import Shares, nothing, of_all_processes

logger = logging.getLogger(__name__)
_UNREAD_STEPS = 50  # a diverging run ends at most as many steps later, or before anything is logged or saved


@dataclass(frozen=True)
class Recipe:
    """How to train. Rates are peak values of AdamW; `own_rates` maps a parameter's name to its own rate.

    `patience` is how many evaluations without a lower loss end the training, whose best weights are then kept; with
    None it runs to the end and keeps the last weights. `advice` says what to change where training diverges, `shown`
    which logged figures stand beside the progress bar (`loss`, `eval_loss`, `tokens_per_s`, or `task_` and a task).
    """

    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    evals_per_epoch: int
    patience: int | None
    precision: str
    device: str
    seed: int
    own_rates: dict[str, float] = field(default_factory=dict)
    advice: str = "lower the learning rate"
    shown: tuple[str, ...] = ("loss", "eval_loss", "tokens_per_s")


def train(
    model: nn.Module,
    train_examples: TaskMixture,
    valid_examples: Examples,
    recipe: Recipe,
    work: Path,
    task_names: Sequence[str],
    pad_id: int,
) -> pd.DataFrame:
    """Train `model` in place, and leave its best weights by the loss of `valid_examples` in it, or its last ones.

    `train_examples` are taken in their order, and that is the whole training. An embedding of the model that is
    `sparse` is moved by the rows that a step reads (`deferred_rows`).

    A killed call repeated with the same `work` folder goes on from the last checkpoint that is whole and ends with the
    same weights as a call never interrupted.

    In several processes all call this alike. The model's `loss` is then to be the mean over all that `task_count`
    counts. They compute what one would, but for rounding, and for dropout: each draws masks of its own for its share.
    The log's speed, and the checkpoints, are the first one's to write.

    Returns:
        the training log: step, epoch, split, task, loss (nats per labelled token), learning_rate, tokens_per_s.

    Raises:
        TrainingError: a loss, a gradient or a weight is not finite; it names step, task and learning rate.
    """
    transformers_logging.set_verbosity_error()
    check_weights(model, "before the first step", "the model that training starts from is broken")
    log = _train(model, train_examples, valid_examples, recipe, work / "checkpoints", task_names, pad_id)
    check_weights(model, "after the last step", recipe.advice)
    return log


def _train(
    model: nn.Module,
    train_examples: TaskMixture,
    valid_examples: Examples,
    recipe: Recipe,
    checkpoints: Path,
    task_names: Sequence[str],
    pad_id: int,
) -> pd.DataFrame:
    newest = from_first_process(lambda: _last_usable(checkpoints))
    if newest is not None:
        logger.info("resuming from %s", newest.name)
        state = _state_of(newest)
        if state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"]:
            # Killed after its last step. Trainer would forget that it had stopped early, and train on.
            load_model(model, Path(state.best_model_checkpoint or newest) / "model.safetensors")
            return _training_log(state.log_history, task_names, train_examples.epochs)
    meter = _Meter(len(task_names), resolve_device(recipe.device))
    callbacks: list[TrainerCallback] = [_MarkComplete(), _ProgressBar(meter, recipe.shown)]
    patience = recipe.patience if len(valid_examples) else None
    if patience is not None:
        callbacks.append(EarlyStoppingCallback(patience))
    arguments = _arguments(recipe, train_examples, len(valid_examples), checkpoints, keep_best=patience is not None)
    n = arguments.world_size
    trainer = _PackingTrainer(
        model=model,
        args=arguments,
        train_dataset=Shares(train_examples, recipe.batch_size, n),
        eval_dataset=Shares(valid_examples, 2 * recipe.batch_size, n) if len(valid_examples) else None,
        data_collator=lambda shares: pack(shares[0] or [nothing(pad_id)], pad_id),
        callbacks=callbacks,
        recipe=recipe,
        task_names=task_names,
        meter=meter,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_CheckSteps(trainer.unread))
    trainer.add_callback(_CatchUp(trainer))
    if arguments.process_index:
        torch.manual_seed(recipe.seed + arguments.process_index)  # else all would drop out the same
    try:
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    finally:  # a model that is no number any more may fail elsewhere first
        trainer.unread.check()
    return _training_log(trainer.state.log_history, task_names, train_examples.epochs)


def _arguments(
    recipe: Recipe, train_examples: TaskMixture, n_valid: int, checkpoints: Path, *, keep_best: bool
) -> TrainingArguments:
    device = resolve_device(recipe.device)
    steps_per_epoch = math.ceil(len(train_examples) / train_examples.epochs / recipe.batch_size)
    interval = max(1, steps_per_epoch // recipe.evals_per_epoch)
    n_steps = math.ceil(len(train_examples) / recipe.batch_size)
    return _Arguments(
        gpu=_own_gpu(device),
        output_dir=str(checkpoints),
        per_device_train_batch_size=1,  # a share of a batch is what the Trainer knows as one example
        per_device_eval_batch_size=1,
        num_train_epochs=1,  # Trainer's one epoch is the whole mixture, which knows of epochs and shuffles itself
        train_sampling_strategy="sequential",
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        # One longer than the training would end it before it began: the first step's rate is 0.
        warmup_steps=min(recipe.warmup_steps, n_steps // 2),
        max_grad_norm=recipe.max_grad_norm,
        eval_strategy="steps" if n_valid else "no",
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        load_best_model_at_end=keep_best,
        metric_for_best_model="eval_loss" if keep_best else None,  # without one, no checkpoint is ever called the best
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,  # else early stopping loses count
        logging_steps=interval,
        logging_nan_inf_filter=False,  # it reads the loss of every step
        seed=recipe.seed,
        bf16=resolve_precision(recipe.precision, device) is torch.bfloat16,
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=device.type == "cuda",
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=True,  # rows that only texts need, in a batch without
    )


def _own_gpu(device: torch.device) -> int | None:
    """The number of the GPU of a process that trains alone; None where it has none, or `torch.distributed` knows."""
    if device.type != "cuda" or distributed.is_initialized():
        return None
    return torch.cuda.current_device() if device.index is None else device.index


@dataclass
class _Arguments(TrainingArguments):
    """Trainer's arguments, with the `gpu` that it trains on; None: Trainer chooses.

    Trainer would take cuda:0, whichever is asked for, and a context on it. It would also cut each batch between all
    GPUs that it sees (DataParallel), in the middle of packed rows.
    """

    gpu: int | None = None

    @cached_property
    def _setup_devices(self) -> torch.device:
        if self.gpu is None:
            return super()._setup_devices
        AcceleratorState._reset_state(reset_partial_state=True)  # an earlier training may have been elsewhere
        self.distributed_state, self._n_gpu = PartialState(), 1
        torch.cuda.set_device(self.gpu)  # accelerate moves batches to the current one
        return torch.device("cuda", self.gpu)


class _Meter:
    """Sums of loss, labels, tokens and seconds, of training since it was last emptied.

    Sums stay on the device where they are added up, until somebody asks for them.
    """

    def __init__(self, n_tasks: int, device: torch.device) -> None:
        self.n_tasks, self.device = n_tasks, device
        self.empty()

    def empty(self) -> None:
        self.losses = torch.zeros(self.n_tasks, dtype=torch.float64, device=self.device)
        self.counts = torch.zeros(self.n_tasks, dtype=torch.float64, device=self.device)
        self.n_tokens, self.seconds = torch.zeros((), dtype=torch.int64, device=self.device), 0.0

    def add(self, outputs: dict[str, Tensor], n_tokens: Tensor) -> None:
        """Add a batch."""
        self.losses += outputs["task_loss"].detach()
        self.counts += outputs["task_count"].detach()
        self.n_tokens += n_tokens

    def mean(self) -> float:
        return float(self.losses.sum() / self.counts.sum().clamp(min=1))

    def task_means(self, task_names: Sequence[str]) -> dict[str, float]:
        """Mean loss of every task that had a label."""
        rows = zip(task_names, self.losses.tolist(), self.counts.tolist(), strict=True)
        return {f"task_{name}": loss / count for name, loss, count in rows if count}


class _PackingTrainer(Trainer):
    """Trainer whose model returns per-task sums beside the loss, which are averaged over each logging interval."""

    def __init__(self, *, recipe: Recipe, task_names: Sequence[str], meter: _Meter, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.recipe = recipe
        self.trained: nn.Module = arguments["model"]
        self.task_names = task_names
        self.meter = meter
        self.model_accepts_loss_kwargs = False
        self.unread = UnreadSteps(task_names, _step_words, recipe.advice)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs, n_tokens = model(**inputs), (inputs["segment_ids"] > 0).sum()
        if self.args.world_size > 1:
            outputs, n_tokens = of_all_processes(outputs, n_tokens, self.args.world_size)
        self.meter.add(outputs, n_tokens)
        self.step_losses = outputs["task_loss"].detach()
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Tensor], *_: Any, **__: Any
    ) -> tuple[Tensor, None, None]:
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

    def evaluation_loop(self, *arguments: Any, **options: Any) -> EvalLoopOutput:
        """Loss as a mean over labelled tokens: Trainer's own mean over batches would weigh tokens unequally."""
        training_meter, self.meter = self.meter, _Meter(len(self.task_names), self.meter.device)
        try:
            output = super().evaluation_loop(*arguments, **options)
            when = f"evaluation after step {self.state.global_step} of training, on valid"
            check_losses(self.meter.losses.tolist(), self.task_names, when, self.recipe.advice)
            means = {"eval_loss": self.meter.mean(), **self.meter.task_means(self.task_names)}
        finally:
            self.meter = training_meter
        return output._replace(metrics={**(output.metrics or {}), **means})

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        if "loss" in logs:
            speed = round(int(self.meter.n_tokens) / max(self.meter.seconds, 1e-9), 1)
            logs = {**logs, "tokens_per_s": speed, **self.meter.task_means(self.task_names)}
            self.meter.empty()
        super().log(logs, *arguments, **options)

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        if self.optimizer_of_rows() is None:
            norm: Tensor = super()._clip_grad_norm(model)
            return norm
        return clip_gradients(model.parameters(), self.args.max_grad_norm)

    def _get_grad_norm(self, *arguments: Any, **options: Any) -> Tensor:
        """The norm before clipping; Trainer asks for it between the backward pass and the optimizer's step."""
        norm: Tensor = super()._get_grad_norm(*arguments, **options)
        rate = float(max(self.lr_scheduler.get_last_lr())) if self.lr_scheduler else self.recipe.learning_rate
        self.unread.add(self.state.global_step + 1, rate, self.step_losses, norm)
        return norm

    def create_optimizer(self, *_: Any, **__: Any) -> torch.optim.Optimizer:
        if self.optimizer is None:
            has_sparse = any(isinstance(part, nn.Embedding) and part.sparse for part in self.trained.modules())
            method = DeferredAdamW if has_sparse else torch.optim.AdamW
            self.optimizer = method(self._parameter_groups(), lr=self.recipe.learning_rate, fused=True)
            if isinstance(self.optimizer, DeferredAdamW):
                defer_rows(self.trained, self.optimizer)
        return self.optimizer

    def optimizer_of_rows(self) -> DeferredAdamW | None:
        """The optimizer, where it moves rows when they are read."""
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)  # accelerate wraps it
        return optimizer if isinstance(optimizer, DeferredAdamW) else None

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.trained.named_parameters():
            if parameter.requires_grad:
                rate = self.recipe.own_rates.get(name, self.recipe.learning_rate)
                decay = self.recipe.weight_decay if parameter.ndim > 1 else 0.0  # not on norms and biases
                groups.setdefault((rate, decay), []).append(parameter)
        return [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]


def _step_words(step: int, rate: float) -> str:
    return f"training, step {step} at learning rate {rate:.3g}"


class _CheckSteps(TrainerCallback):
    """Read what steps gave, at the latest before it is logged or saved."""

    def __init__(self, unread: UnreadSteps) -> None:
        self.unread = unread

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_log or control.should_save or control.should_evaluate or len(self.unread) >= _UNREAD_STEPS:
            self.unread.check()


class _CatchUp(TrainerCallback):
    """Bring rows that wait to be read up to date before weights are evaluated or saved; the last step saves."""

    def __init__(self, trainer: _PackingTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        optimizer = self.trainer.optimizer_of_rows()
        if optimizer is not None and (control.should_save or control.should_evaluate):
            optimizer.catch_up_all()


class _MarkComplete(TrainerCallback):
    """Seal a checkpoint once it is whole: each process has added the state of its random numbers.

    A kill while Trainer writes a checkpoint, or deletes an old one, must not leave one to resume from.
    """

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        if args.world_size > 1:
            torch.distributed.barrier()
        if state.is_world_process_zero:
            work_files.seal(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")


class _ProgressBar(TrainerCallback):
    """One bar over all steps, with the last logged figures; it also times the steps, evaluation aside."""

    def __init__(self, meter: _Meter, names: Sequence[str]) -> None:
        self.meter, self.names = meter, names

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar = progress(desc="training", total=state.max_steps, unit="step")
        self.bar.update(state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.meter.seconds += time.monotonic() - self.began
        self.bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        found = [name for name in self.names if logs and name in logs]
        shown: dict[str, object] = {name.removeprefix("task_"): f"{(logs or {})[name]:.4g}" for name in found}
        if shown:
            self.bar.set_postfix(shown)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.close()


def _last_usable(folder: Path) -> Path | None:
    """The newest checkpoint that is whole, as is the one whose weights it calls the best; others are removed."""
    whole = set()
    for checkpoint in folder.glob("checkpoint-*"):
        if work_files.is_whole(checkpoint):
            whole.add(checkpoint)
        else:
            work_files.remove(checkpoint)
    for checkpoint in sorted(whole, key=lambda checkpoint: int(checkpoint.name.split("-")[1]), reverse=True):
        best = _state_of(checkpoint).best_model_checkpoint
        if best is None or Path(best) in whole:
            return checkpoint
        # Trainer would go on, and at the end leave the last weights in place of the best ones.
        logger.warning("%s: its best weights, %s, are lost; not resuming from it", checkpoint, best)
        work_files.remove(checkpoint)
    return None


def _state_of(checkpoint: Path) -> Any:
    return TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))


def _training_log(history: list[dict[str, float]], task_names: Sequence[str], epochs: float) -> pd.DataFrame:
    rows = [
        {
            "step": entry["step"],
            "epoch": entry["epoch"] * epochs,
            "split": "train" if "loss" in entry else "valid",
            "task": task,
            "loss": entry[f"task_{task}"],
            "learning_rate": entry.get("learning_rate"),
            "tokens_per_s": entry.get("tokens_per_s"),
        }
        for entry in history
        if "loss" in entry or "eval_loss" in entry
        for task in task_names
        if f"task_{task}" in entry
    ]
    columns = ["step", "epoch", "split", "task", "loss", "learning_rate", "tokens_per_s"]
    return pd.DataFrame(rows, columns=columns).astype({"learning_rate": float, "tokens_per_s": float})
