"""Training on transformers' Trainer, so that its callbacks, checkpoints and accelerate work; resumable after a kill.

Knows nothing of SIDs: it is handed a model that takes a packed batch and returns `loss`, `task_loss` and
`task_count`. Checkpoints (which hold optimizer state in torch's own format) live in the stage's work folder alone and
are gone when the stage is done.
"""

import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from tsrec.progress import progress
from tsrec.training.packing import Example, pack

logger = logging.getLogger(__name__)

_COMPLETE = "complete"


@dataclass(frozen=True)
class Recipe:
    """How to train. Rates are peak values of AdamW; `own_rates` maps a parameter's name to its own rate."""

    epochs: float
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    evals_per_epoch: int
    patience: int
    precision: str
    device: str
    seed: int
    own_rates: dict[str, float] = field(default_factory=dict)


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the processor multiplies it natively (AVX512-BF16, AMX, recent GPUs), else float32."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def train(
    model: nn.Module,
    train_examples: Sequence[Example],
    valid_examples: Sequence[Example],
    recipe: Recipe,
    work: Path,
    task_names: Sequence[str],
    pad_id: int,
) -> pd.DataFrame:
    """Train `model` in place, up to early stopping on the loss of `valid_examples`, and leave its best weights in it.

    A killed call repeated with the same `work` folder goes on from the last complete checkpoint and ends with the
    same weights as a call never interrupted.

    Returns:
        the training log: step, epoch, split, task, loss (nats per labelled token), learning_rate, tokens_per_s.
    """
    transformers_logging.set_verbosity_error()
    device = resolve_device(recipe.device)
    steps_per_epoch = math.ceil(len(train_examples) / recipe.batch_size)
    interval = max(1, steps_per_epoch // recipe.evals_per_epoch)
    arguments = TrainingArguments(
        output_dir=str(work / "checkpoints"),
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=2 * recipe.batch_size,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        eval_strategy="steps" if len(valid_examples) else "no",
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        load_best_model_at_end=len(valid_examples) > 0,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=interval,
        seed=recipe.seed,
        bf16=resolve_precision(recipe.precision, device) is torch.bfloat16,
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=device.type == "cuda",
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        disable_tqdm=True,
    )
    callbacks: list[TrainerCallback] = [_MarkComplete(), _ProgressBar()]
    if len(valid_examples):
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=recipe.patience))
    trainer = _PackingTrainer(
        model=model,
        args=arguments,
        train_dataset=_Examples(train_examples),
        eval_dataset=_Examples(valid_examples) if len(valid_examples) else None,
        data_collator=lambda examples: pack(examples, pad_id),
        callbacks=callbacks,
        recipe=recipe,
        task_names=task_names,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_complete(work / "checkpoints"))
    return _training_log(trainer.state.log_history, task_names)


class _Examples(torch.utils.data.Dataset[Example]):
    """A sequence of examples as the map-style dataset that Trainer asks for."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


class _PackingTrainer(Trainer):
    """Trainer whose model returns per-task sums beside the loss, which are averaged over each logging interval."""

    def __init__(self, *, recipe: Recipe, task_names: Sequence[str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.recipe = recipe
        self.task_names = task_names
        self.model_accepts_loss_kwargs = False
        self._reset_sums()

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any) -> Any:
        outputs = model(**inputs)
        self._loss_sums += outputs["task_loss"].detach().double().cpu()
        self._counts += outputs["task_count"].detach().double().cpu()
        self._tokens += int((inputs["segment_ids"] > 0).sum())
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Tensor], *_: Any, **__: Any
    ) -> tuple[Tensor, None, None]:
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Loss on valid, as a mean over labelled tokens (Trainer's own is a mean over batches)."""
        kept = (self._loss_sums, self._counts, self._tokens, self._since)
        self._reset_sums()
        super().evaluate(*arguments, **options)
        metrics = {"eval_loss": float(self._loss_sums.sum() / self._counts.sum().clamp(min=1)), **self._task_means()}
        self._loss_sums, self._counts, self._tokens, self._since = kept
        self.log(metrics)
        return metrics

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        if "eval_runtime" in logs:
            return  # Trainer's own line of an evaluation: `evaluate` above logs the true mean
        if "loss" in logs:
            seconds = time.monotonic() - self._since
            logs = {**logs, "tokens_per_s": round(self._tokens / max(seconds, 1e-9), 1), **self._task_means()}
            self._reset_sums()
        super().log(logs, *arguments, **options)

    def create_optimizer(self, *_: Any, **__: Any) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=self.recipe.learning_rate, fused=True)
        return self.optimizer

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                rate = self.recipe.own_rates.get(name, self.recipe.learning_rate)
                decay = self.recipe.weight_decay if parameter.ndim > 1 else 0.0  # not on norms and biases
                groups.setdefault((rate, decay), []).append(parameter)
        return [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]

    def _task_means(self) -> dict[str, float]:
        means = self._loss_sums / self._counts.clamp(min=1)
        return {f"task_{n}": float(m) for n, m, c in zip(self.task_names, means, self._counts, strict=True) if c}

    def _reset_sums(self) -> None:
        self._loss_sums = torch.zeros(len(self.task_names), dtype=torch.float64)
        self._counts = torch.zeros(len(self.task_names), dtype=torch.float64)
        self._tokens = 0
        self._since = time.monotonic()


class _MarkComplete(TrainerCallback):
    """Mark a checkpoint once it is whole: a kill while Trainer writes one must not leave one to resume from."""

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()


class _ProgressBar(TrainerCallback):
    """One bar over all steps, with the last logged loss and speed."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar = progress(desc="training", total=state.max_steps, unit="step")
        self.bar.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        shown = {
            name: f"{(logs or {})[name]:.4g}" for name in ("loss", "eval_loss", "tokens_per_s") if name in (logs or {})
        }
        if shown:
            self.bar.set_postfix(shown)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.close()


def _last_complete(folder: Path) -> str | None:
    """The newest complete checkpoint; incomplete ones are removed."""
    complete = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / _COMPLETE).exists():
            complete.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    if not complete:
        return None
    newest = max(complete, key=lambda checkpoint: int(checkpoint.name.split("-")[1]))
    logger.info("resuming from %s", newest.name)
    return str(newest)


def _training_log(history: list[dict[str, float]], task_names: Sequence[str]) -> pd.DataFrame:
    rows = []
    for entry in history:
        if "loss" not in entry and "eval_loss" not in entry:
            continue
        for task in task_names:
            if f"task_{task}" in entry:
                rows.append(
                    {
                        "step": entry["step"],
                        "epoch": entry["epoch"],
                        "split": "train" if "loss" in entry else "valid",
                        "task": task,
                        "loss": entry[f"task_{task}"],
                        "learning_rate": entry.get("learning_rate"),
                        "tokens_per_s": entry.get("tokens_per_s"),
                    }
                )
    columns = ["step", "epoch", "split", "task", "loss", "learning_rate", "tokens_per_s"]
    return pd.DataFrame(rows, columns=columns).astype({"learning_rate": float, "tokens_per_s": float})


def _cpu_multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
