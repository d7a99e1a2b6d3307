"""Several processes train as one does, fail as one does, and none is left behind."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments

from tests.finetune.stage_run import config
from tests.finetune.stage_run import run as run_stage
from tests.machine.test_parent_process import _lives
from tests.model_families import FAMILIES, save_model
from tests.training import rank_jobs
from tests.training.training_run import examples, mixture, recipe, run_as_rank
from tsrec.errors import ConfigError, TrainingError
from tsrec.machine.devices import check_processes
from tsrec.machine.progress import observed_by
from tsrec.training import trainer
from tsrec.training.processes import run_in_processes
from tsrec.training.shares import Shares

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_shares_of_a_batch_are_the_batch(n: int) -> None:
    """Ten examples in batches of four: the last batch has two, and some processes nothing."""
    some = examples(10, 1)
    shares = Shares(some, 4, n)
    assert len(shares) == 3 * n
    for batch, size in enumerate((4, 4, 2)):
        parts = [shares[batch * n + rank] for rank in range(n)]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        ids = sorted(id(example) for part in parts for example in part)
        assert ids == sorted(id(example) for example in some[4 * batch : 4 * batch + size])


def test_one_process_computes_on_one_gpu_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Trainer alone would hand the batch out to all of them (DataParallel)."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    assert TrainingArguments(output_dir=str(tmp_path)).n_gpu == 2  # else this test could not fail
    arguments = trainer._arguments(recipe(device="cuda"), mixture(16), 8, tmp_path, keep_best=True)
    assert (arguments.n_gpu, arguments.train_batch_size, arguments.eval_batch_size) == (1, 1, 1)


def test_each_process_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_processes(2, "cuda")
    check_processes(8, "cpu")
    check_processes(1, "cuda:1")
    with pytest.raises(ConfigError, match=r"finetune\.processes = 3 take one GPU each, and torch sees 2 .*=2, or"):
        check_processes(3, "cuda")
    with pytest.raises(ConfigError, match=r"'cuda:1' is one GPU, and .* set device=cuda"):
        check_processes(2, "cuda:1")


@pytest.mark.slow
def test_the_first_process_answers_and_tells_what_it_does(caplog: pytest.LogCaptureFixture) -> None:
    steps: list[tuple[str, float, float | None]] = []
    caplog.set_level(logging.INFO, "tsrec")
    with observed_by(lambda *step: steps.append(step)):
        together, n_tokens, n_threads, pid = run_in_processes(rank_jobs.share, ([[1, 0], [1, 2]],), 2, "cpu")
    assert together == {"loss": 0.0, "task_loss": [1.0, 2.0], "task_count": [2.0, 2.0]}
    assert n_tokens == 20
    assert n_threads == max(1, torch.get_num_threads() // 2)
    assert pid != os.getpid()
    assert [record.message for record in caplog.records if record.name == "tsrec.rank_jobs"] == ["rank 0"]
    assert ("counting", 3, 3) in steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        (
            "killed",
            TrainingError,
            r"rank 1 \(of 2\) was killed by SIGKILL, .*memory.* same command again",
        ),
        ("deliberately", TrainingError, "^lower the rate$"),
        ("by a bug", RuntimeError, r"(?s)rank 1 of 2 processes:.*in fail.*ZeroDivisionError: a bug"),
    ],
)
def test_a_process_that_fails_is_told_and_ends_the_others(how: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        run_in_processes(rank_jobs.fail, (1, how), 2, "cpu")


_PARENT = """
import sys
from collections.abc import Callable
from pathlib import Path
from tests.training import rank_jobs
from tsrec.training.processes import run_in_processes
run_in_processes(rank_jobs.wait_for_ever, (Path(sys.argv[1]),), 2, "cpu")
"""


@pytest.mark.slow
def test_processes_end_when_who_started_them_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], cwd=ROOT) as parent:
        _wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        parent.kill()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    _wait_until(lambda: not any(map(_lives, pids)))


def _wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a training in two processes that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    run_in_processes(run_as_rank, (folder / "work", folder / "weights.safetensors"), 2, "cpu")
    return folder / "weights.safetensors"


@pytest.mark.slow
def test_all_processes_have_the_same_weights_and_dropout_of_their_own(whole: Path) -> None:
    assert whole.read_bytes() == whole.with_name("rank-1.safetensors").read_bytes()
    checkpoint = next(whole.parent.glob("work/checkpoints/checkpoint-*"))
    states = [torch.load(checkpoint / f"rng_state_{rank}.pth", weights_only=False)["cpu"] for rank in range(2)]
    assert not torch.equal(*states)


# A checkpoint every fourth step; the run stops early at step 24, so at step 22 it is halfway to its patience.
@pytest.mark.slow
@pytest.mark.parametrize("death", [(1, 14, "step"), (0, 22, "step"), (1, 3, "save"), (0, 3, "mark")])
def test_killed_and_run_again_gives_the_same_bytes(whole: Path, tmp_path: Path, death: tuple[int, int, str]) -> None:
    job = (tmp_path / "work", tmp_path / "weights.safetensors")
    with pytest.raises(TrainingError, match=rf"rank {death[0]} \(of 2\) was killed by SIGKILL"):
        run_in_processes(run_as_rank, (*job, death), 2, "cpu")
    assert list(tmp_path.glob("work/checkpoints/checkpoint-*/complete.json"))
    run_in_processes(run_as_rank, job, 2, "cpu")
    assert job[1].read_bytes() == whole.read_bytes()
    assert job[1].with_suffix(".csv").read_text() == whole.with_suffix(".csv").read_text()


_BOUND = 1e-5  # what sums in another order may change; docs/scale.md tells it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "changes"),
    [
        # Batches of nine, unequally shared, and a last one of a single example, which leaves a process without any.
        ("llama-untied", {"batch_size": 9, "epochs": 109 / 90, "train_text_rows": True}),
        ("llama-tied", {"gradient_checkpointing": True}),
    ],
)
def test_two_processes_train_as_one_does(
    family: str, changes: dict[str, object], tiny_backbone: Path, tmp_path: Path
) -> None:
    backbone = save_model(tmp_path / "backbone", tiny_backbone, FAMILIES[family])
    alone, together = (
        run_stage(tmp_path / str(n), backbone, config(dropout=0.0, **changes, processes=n)) for n in (1, 2)
    )
    logs = [artifact.frame("training_log") for artifact in (alone, together)]
    words = ["step", "epoch", "split", "task"]
    assert logs[0][words].equals(logs[1][words])
    np.testing.assert_allclose(logs[1]["loss"], logs[0]["loss"], rtol=_BOUND)
    np.testing.assert_array_equal(logs[1]["learning_rate"], logs[0]["learning_rate"])
    counts = [{**artifact.counts, "export_difference": 0} for artifact in (alone, together)]
    assert counts[0] == counts[1]
    assert "batch_size" not in changes or counts[0]["n_train_examples"] % 9 == 1
    weights = [load_file(artifact.file("model") / "model.safetensors") for artifact in (alone, together)]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=0, atol=_BOUND * float(weight.abs().max()))
