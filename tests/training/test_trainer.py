"""Training: what is logged, which weights win, and a killed run ends as if it had not been killed."""

import json
import pickle
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.forked import PROCESSES
from tests.training.training_run import TinyModel, counted_reads, examples, mixture, recipe, run
from tsrec.machine.devices import resolve_precision
from tsrec.training import trainer
from tsrec.training.mixture import TaskMixture
from tsrec.training.packing import Example, pack
from tsrec.training.trainer import train

TASKS = ("even", "odd")


def _run(work: Path, weights: Path, death: tuple[int, str] | None = None, *, sparse: bool = False) -> int | None:
    process = PROCESSES.Process(target=run, args=(work, weights, death), kwargs={"sparse": sparse})
    process.start()
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a run that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    assert _run(folder / "work", folder / "weights.safetensors") == 0
    return folder / "weights.safetensors"


def test_the_uninterrupted_run_stops_early(whole: Path) -> None:
    steps = pd.read_csv(whole.with_suffix(".csv"))["step"]
    assert 16 < steps.max() < 48


# The run evaluates and saves every fourth step; at step 26 early stopping is halfway to its patience.
KILLS = [(2, "step"), (6, "step"), (26, "step"), (4, "save"), (1, "mark"), (7, "mark")]


@pytest.mark.parametrize(("count", "moment"), KILLS)
def test_killed_and_run_again_gives_the_same_bytes(whole: Path, tmp_path: Path, count: int, moment: str) -> None:
    weights = tmp_path / "weights.safetensors"
    assert _run(tmp_path / "work", weights, (count, moment)) == -signal.SIGKILL
    assert not weights.exists()
    assert _run(tmp_path / "work", weights) == 0
    assert weights.read_bytes() == whole.read_bytes()
    assert weights.with_suffix(".csv").read_text() == whole.with_suffix(".csv").read_text()


def test_killed_with_rows_that_wait_to_be_read_gives_the_same_bytes(tmp_path: Path) -> None:
    assert _run(tmp_path / "whole", tmp_path / "whole.safetensors", sparse=True) == 0
    assert _run(tmp_path / "work", tmp_path / "weights.safetensors", (11, "step"), sparse=True) == -signal.SIGKILL
    assert _run(tmp_path / "work", tmp_path / "weights.safetensors", sparse=True) == 0
    assert (tmp_path / "weights.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_run_again_after_every_step_of_training_is_done(whole: Path, tmp_path: Path) -> None:
    """Killed after early stopping, before the stage could use the model: it must not train on."""
    work = whole.parent / "work"
    before = sorted(path.name for path in (work / "checkpoints").iterdir())
    assert _run(work, tmp_path / "again.safetensors") == 0
    assert (tmp_path / "again.safetensors").read_bytes() == whole.read_bytes()
    assert (tmp_path / "again.csv").read_text() == whole.with_suffix(".csv").read_text()
    assert sorted(path.name for path in (work / "checkpoints").iterdir()) == before


def test_a_checkpoint_half_deleted_is_not_resumed_from(whole: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    assert _run(tmp_path / "work", weights, (4, "mark")) == -signal.SIGKILL
    marked = sorted((tmp_path / "work" / "checkpoints").glob("*/complete.json"))
    assert marked
    (marked[-1].parent / "optimizer.pt").unlink()
    assert _run(tmp_path / "work", weights) == 0
    assert weights.read_bytes() == whole.read_bytes()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The work folder of a run killed at step 14, with the checkpoints of steps 8 and 12, and a copy of it."""
    work = tmp_path_factory.mktemp("killed") / "work"
    assert _run(work, work.parent / "none", (14, "step")) == -signal.SIGKILL
    shutil.copytree(work, work.parent / "copy")
    return work, work.parent / "copy"


CUTS = [
    ("newest", "complete.json", 0),
    ("newest", "complete.json", 0.5),
    ("newest", "trainer_state.json", 0),
    ("newest", "trainer_state.json", 0.5),
    ("newest", "model.safetensors", 0),
    ("newest", "optimizer.pt", 0.5),
    ("all", "trainer_state.json", 0),
]


@pytest.mark.parametrize(("which", "name", "share"), CUTS)
def test_work_files_cut_by_a_power_cut_change_nothing(
    whole: Path, killed: tuple[Path, Path], tmp_path: Path, which: str, name: str, share: float
) -> None:
    """Checkpoints hold absolute paths, so the damaged copy is put back where it was made."""
    work, copy = killed
    shutil.rmtree(work)
    shutil.copytree(copy, work)
    checkpoints = sorted(work.glob("checkpoints/*"), key=lambda path: int(path.name.split("-")[1]))
    assert [path.name for path in checkpoints] == ["checkpoint-8", "checkpoint-12"]
    for checkpoint in checkpoints if which == "all" else checkpoints[-1:]:
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(content[: int(len(content) * share)])
    weights = tmp_path / "weights.safetensors"
    assert _run(work, weights) == 0
    assert weights.read_bytes() == whole.read_bytes()
    assert weights.with_suffix(".csv").read_text() == whole.with_suffix(".csv").read_text()


def test_a_checkpoint_whose_best_weights_are_lost_is_not_resumed_from(whole: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert _run(work, tmp_path / "none", (26, "step")) == -signal.SIGKILL
    states = [json.loads(path.read_text()) for path in work.glob("checkpoints/*/trainer_state.json")]
    newest = max(states, key=lambda state: state["global_step"])
    best = Path(newest["best_model_checkpoint"])
    assert best.name != f"checkpoint-{newest['global_step']}"  # else this test could not fail
    (best / "model.safetensors").write_bytes(b"")
    assert _run(work, tmp_path / "weights.safetensors") == 0
    assert (tmp_path / "weights.safetensors").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(("device", "gpu"), [("cuda:1", 1), ("cuda", 2)])
def test_the_gpu_that_is_asked_for_is_the_only_one_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpu: int
) -> None:
    """On a machine of three GPUs, as far as torch is asked; the third one is current."""
    current = [2]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("torch.cuda.current_device", lambda: current[-1])
    monkeypatch.setattr("torch.cuda.set_device", lambda device: current.append(getattr(device, "index", device)))
    arguments = trainer._arguments(recipe(device=device), mixture(51), 0, tmp_path, keep_best=False)
    assert (arguments.device, arguments.n_gpu, arguments.world_size) == (torch.device("cuda", gpu), 1, 1)
    accelerator = arguments.distributed_state
    assert accelerator and accelerator.device == torch.device("cuda"), "the current one"
    assert set(current[1:]) == {gpu}, "no other has a context of this process"
    moved = pickle.loads(pickle.dumps(arguments))  # a checkpoint holds them
    assert moved.device == arguments.device


def test_best_weights_are_loaded_and_the_log_holds_every_task(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, valid = TinyModel(), examples(32, 2)
    log = train(model, mixture(51), valid, recipe(), tmp_path, TASKS, pad_id=0)
    assert list(log.columns) == ["step", "epoch", "split", "task", "loss", "learning_rate", "tokens_per_s"]
    assert set(log["task"]) == set(TASKS)
    assert set(log["split"]) == {"train", "valid"}
    train_rows = log[log["split"] == "train"]
    assert (train_rows["tokens_per_s"] > 0).all()
    assert train_rows["learning_rate"].max() <= 0.3
    with torch.no_grad():
        outputs = model.eval()(**pack(valid, 0))
    final = float(outputs["task_loss"].sum() / outputs["task_count"].sum())
    counts = dict(zip(TASKS, outputs["task_count"].tolist(), strict=True))
    valid_rows = log[log["split"] == "valid"]
    weighted = valid_rows["loss"] * valid_rows["task"].map(counts)
    per_step = weighted.groupby(valid_rows["step"]).sum() / sum(counts.values())
    assert final == pytest.approx(per_step.min(), abs=1e-5)


def test_without_patience_training_runs_to_the_end_and_keeps_the_last_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, few, valid, settings = TinyModel(), mixture(16, 19.2), examples(32, 2), recipe(patience=None)
    log = train(model, few, valid, settings, tmp_path, TASKS, pad_id=0)
    assert log["step"].max() == 48
    losses = log[log["split"] == "valid"].groupby("step")["loss"].mean()
    assert losses.idxmin() < 48  # else the best weights were the last ones, and this test could not fail
    last = load_file(tmp_path / "checkpoints" / "checkpoint-48" / "model.safetensors")
    torch.testing.assert_close(dict(model.named_parameters()), dict(last))
    again = TinyModel()  # killed after its last step
    train(again, few, valid, settings, tmp_path, TASKS, pad_id=0)
    torch.testing.assert_close(dict(again.named_parameters()), dict(last))


def test_early_stopping_sees_the_mean_over_tokens(tmp_path: Path) -> None:
    """The loss that stops training and the loss that chooses the best checkpoint are the one in the log."""
    torch.manual_seed(0)
    train(TinyModel(), mixture(64, 1), examples(33, 2), recipe(), tmp_path, TASKS, pad_id=0)
    newest = max(tmp_path.glob("checkpoints/*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    state = json.loads(newest.read_text())
    losses = [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
    assert state["best_metric"] == min(losses)


def test_without_valid_the_last_weights_stay(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TinyModel()
    before = model.head.weight.detach().clone()
    log = train(model, mixture(16, 1), [], recipe(), tmp_path, TASKS, pad_id=0)
    assert set(log["split"]) == {"train"}
    assert not torch.equal(before, model.head.weight)


def test_own_rates_apply_to_the_named_parameter_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TinyModel()
    rows, head = model.rows.weight.detach().clone(), model.head.weight.detach().clone()
    slow = recipe(own_rates={"rows.weight": 1e-12}, weight_decay=0.0)
    train(model, mixture(16, 1), [], slow, tmp_path, TASKS, pad_id=0)
    torch.testing.assert_close(model.rows.weight, rows, atol=1e-8, rtol=0)
    assert (model.head.weight - head).abs().max() > 1e-4


def test_rows_moved_when_they_are_read_end_where_all_would(tmp_path: Path) -> None:
    """Two rows of twelve a step. Clipping included: the norm of the gradients is often above its limit."""
    settings = recipe(batch_size=1, learning_rate=0.02, patience=None, max_grad_norm=0.2)
    pairs = [Example(one.input_ids[:2], one.labels[:2], one.task) for one in examples(30, 1)]
    few = TaskMixture({0: (pairs, 1.0)}, 2, seed=3)
    models = []
    for sparse in (False, True):
        torch.manual_seed(0)
        model = TinyModel(sparse=sparse)
        train(model, few, [], settings, tmp_path / str(sparse), TASKS, pad_id=0)
        models.append(model)
    torch.testing.assert_close(models[1].state_dict(), models[0].state_dict(), atol=2e-5, rtol=1e-4)


def test_what_is_used_of_trainers_internals_has_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainer asks for the norm of the gradient in every step; a checkpoint says whether training had ended."""
    norms: list[float] = []
    monkeypatch.setattr(trainer.UnreadSteps, "add", lambda *arguments: norms.append(float(arguments[-1])))
    train(TinyModel(), mixture(16, 1), [], recipe(), tmp_path, TASKS, pad_id=0)
    assert len(norms) == 3 and min(norms) > 0
    ended = [
        trainer._state_of(tmp_path / "checkpoints" / f"checkpoint-{step}").stateful_callbacks["TrainerControl"]["args"]
        for step in (2, 3)
    ]
    assert [state["should_training_stop"] for state in ended] == [False, True]


def test_no_step_reads_what_a_device_has_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many steps there are between two lines of the log, tensors are read as often."""
    reads = counted_reads(monkeypatch)
    counts = []
    for n_steps in (8, 24):
        reads.clear()
        few = TaskMixture({0: (examples(8 * n_steps, 1), 1.0)}, 1, seed=3)
        log = train(TinyModel(), few, [], recipe(evals_per_epoch=1), tmp_path / str(n_steps), TASKS, pad_id=0)
        assert set(log["step"]) == {n_steps}
        counts.append(len(reads))
    assert counts[0] == counts[1] > 0


def test_bfloat16_trains_on_the_cpu_and_keeps_float32_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TinyModel()
    train(model, mixture(16, 1), examples(8, 2), recipe(precision="bfloat16"), tmp_path, TASKS, pad_id=0)
    assert model.head.weight.dtype == torch.float32
    assert resolve_precision("bfloat16", torch.device("cpu")) is torch.bfloat16
    assert resolve_precision("float32", torch.device("cpu")) is torch.float32
