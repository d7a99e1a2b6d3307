"""A small training run that can kill itself; tests run it in processes of its own."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import Trainer

from tsrec.training import trainer
from tsrec.training.mixture import TaskMixture
from tsrec.training.packing import IGNORED, Example
from tsrec.training.trainer import Recipe, train

N_TOKENS = 12


class TinyModel(nn.Module):
    """Predicts a label from the token below it, with dropout: the random state matters."""

    def __init__(self, *, sparse: bool = False) -> None:
        super().__init__()
        self.rows = nn.Embedding(N_TOKENS, 8, sparse=sparse)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(8, N_TOKENS)

    def forward(self, input_ids: Tensor, labels: Tensor, tasks: Tensor, **_: Tensor) -> dict[str, Tensor]:
        labelled = labels != IGNORED
        logits = self.head(self.dropout(self.rows(input_ids[labelled])))
        losses = functional.cross_entropy(logits.float(), labels[labelled], reduction="none")
        sums = torch.zeros(2).index_add(0, tasks[labelled], losses.detach())
        counts = torch.zeros(2).index_add(0, tasks[labelled], torch.ones_like(losses.detach()))
        return {"loss": losses.mean(), "task_loss": sums, "task_count": counts}


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets a name whenever Python reads a tensor's values: on a GPU, that waits for all that was asked."""
    reads: list[str] = []

    def counting(name: str, read: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            reads.append(name)
            return read(*arguments, **options)

        return counted

    for name in ("item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__index__"):
        monkeypatch.setattr(torch.Tensor, name, counting(name, getattr(torch.Tensor, name)))
    return reads


def examples(n: int, seed: int) -> list[Example]:
    """Random sequences of which nothing can be learned but their frequencies: valid soon stops improving."""
    random = np.random.default_rng(seed)
    lengths = random.integers(3, 30, n)
    return [Example(random.integers(1, N_TOKENS, k), random.integers(1, N_TOKENS, k), int(k % 2)) for k in lengths]


def mixture(n: int, epochs: float = 6) -> TaskMixture:
    """Two tasks, of which the second is seen a quarter per epoch."""
    return TaskMixture({0: (examples(n, 1), 1.0), 1: (examples(n, 4), 0.25)}, epochs, seed=3)


def recipe(**changes: object) -> Recipe:
    """Batches of eight, evaluated twice an epoch, stopped early."""
    values: dict[str, object] = {
        "batch_size": 8,
        "learning_rate": 0.3,
        "warmup_steps": 4,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
        "evals_per_epoch": 2,
        "patience": 2,
        "precision": "float32",
        "device": "cpu",
        "seed": 3,
    }
    return Recipe(**{**values, **changes})  # type: ignore[arg-type]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(count: int, moment: str) -> None:
    owner, name = {
        "step": (Trainer, "training_step"),
        "save": (Trainer, "_save_rng_state"),
        "mark": (trainer._MarkComplete, "on_save"),
    }[moment]
    original = getattr(owner, name)
    calls = 0

    def dying(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == count:
            _die()
        return original(*arguments, **options)

    setattr(owner, name, dying)


def run_as_rank(work: Path, weights: Path, death: tuple[int, int, str] | None = None) -> None:
    """The same in one of several processes; `death` names its rank first."""
    rank = int(os.environ["RANK"])
    own_death = death[1:] if death is not None and death[0] == rank else None
    run(work, weights if rank == 0 else weights.with_name(f"rank-{rank}.safetensors"), own_death)


def run(work: Path, weights: Path, death: tuple[int, str] | None = None, *, sparse: bool = False) -> None:
    """Train a tiny model, write its final weights to `weights` and its log beside them.

    With `sparse`, rows of its embedding are moved when they are read.

    `death` is (count, moment): SIGKILL at the count-th `step` (in it), `save` (while a checkpoint is written) or
    `mark` (before that is marked whole).
    """
    if death is not None:
        _die_at(*death)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = TinyModel(sparse=sparse)
    log = train(model, mixture(51), examples(32, 2), recipe(), work, ("even", "odd"), pad_id=0)
    save_model(model, str(weights))
    log.drop(columns="tokens_per_s").to_csv(weights.with_suffix(".csv"), index=False)
