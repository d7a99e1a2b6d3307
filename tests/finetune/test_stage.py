"""The stage: what it writes, with which methods, and that a kill changes no byte of it."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.finetune.stage_run import SPACE, TASKS, config, parents, run
from tests.forked import PROCESSES
from tests.model_families import FAMILIES, save_model
from tsrec.columns import Columns as C
from tsrec.config import FinetuneSettings
from tsrec.errors import ConfigError, DataError, TrainingError
from tsrec.store import Artifact, ArtifactStore

EMBEDDING = "model.embed_tokens.weight"


def _exit_code(folder: Path, backbone: Path, settings: FinetuneSettings, death_step: int | None = None) -> int | None:
    process = PROCESSES.Process(target=run, args=(folder, backbone, settings, death_step))
    process.start()
    process.join()
    return process.exitcode


def _exported(store: Path) -> dict[str, bytes]:
    folder = next(store.glob("tiny/finetune/*/model"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run(tmp_path_factory.mktemp("store"), tiny_backbone, config())


def test_model_and_tokenizer_load_as_any_other(artifact: Artifact, tiny_backbone: Path) -> None:
    n_text = len(AutoTokenizer.from_pretrained(tiny_backbone))
    model = AutoModelForCausalLM.from_pretrained(artifact.file("model"))
    tokenizer = AutoTokenizer.from_pretrained(artifact.file("model"))
    assert model.get_input_embeddings().num_embeddings == n_text + SPACE.n_tokens
    assert tokenizer.encode("<a_0><b_0>", add_special_tokens=False) == [n_text, n_text + 3]


def test_training_log_has_every_task_and_both_splits(artifact: Artifact) -> None:
    log = artifact.frame("training_log")
    assert list(log.columns) == ["step", "epoch", "split", "task", "loss", "learning_rate", "tokens_per_s"]
    train = log[log["split"] == "train"]
    assert set(train["task"]) == {"history", "title_to_sid", "sid_to_title", "token_to_meaning", "meaning_to_token"}
    assert set(log[log["split"] == "valid"]["task"]) == {"history"}
    assert artifact.counts["n_valid_examples"] == 40
    assert artifact.counts["precision"] == "float32"


def test_text_rows_stay_as_pretrained(artifact: Artifact, tiny_backbone: Path) -> None:
    before = load_file(tiny_backbone / "model.safetensors")[EMBEDDING]
    after = load_file(artifact.file("model") / "model.safetensors")[EMBEDDING]
    assert (after[: len(before)] == before).all()


# Shares that differ from epoch to epoch, and an epoch that is not whole.
UNEVEN = {"epochs": 1.5, "tasks": {**TASKS, "history": 1.5, "title_to_sid": 0.25}}


@pytest.mark.parametrize(
    ("changes", "death_steps"),
    [
        # Before the first checkpoint, and after one.
        pytest.param({"method": "full", **UNEVEN}, (3, 17), marks=pytest.mark.slow),
        pytest.param({"method": "lora", **UNEVEN}, (17,), marks=pytest.mark.slow),
        ({"method": "sid-rows", **UNEVEN}, (17,)),
        ({"epochs": 2.5, "patience": 1, "distill": {"share": 0.5}}, (9, 9)),  # before early stopping begins, and after
    ],
    ids=["full", "lora", "sid-rows", "distilling"],
)
def test_killed_and_run_again_gives_the_same_bytes(
    tiny_backbone: Path, tmp_path: Path, changes: dict[str, object], death_steps: tuple[int, ...]
) -> None:
    settings = config(**changes)
    assert _exit_code(tmp_path / "whole", tiny_backbone, settings) == 0
    for death_step in death_steps:
        assert _exit_code(tmp_path / "killed", tiny_backbone, settings, death_step) == -signal.SIGKILL
    assert _exit_code(tmp_path / "killed", tiny_backbone, settings) == 0
    assert _exported(tmp_path / "killed") == _exported(tmp_path / "whole")


def test_sid_rows_learn_at_their_own_rate(tiny_backbone: Path, tmp_path: Path) -> None:
    artifact = run(tmp_path, tiny_backbone, config(epochs=1, sid_learning_rate=1e-12, weight_decay=0.0))
    start = load_file(tiny_backbone / "model.safetensors")
    trained = load_file(artifact.file("model") / "model.safetensors")
    before = parents(ArtifactStore(tmp_path), tiny_backbone)["sa_init"].matrix("token_embeddings", C.EMBEDDING)
    np.testing.assert_allclose(trained[EMBEDDING][-len(before) :], before, atol=1e-6)
    assert any((trained[name] != weight).any() for name, weight in start.items() if name != EMBEDDING)


@pytest.mark.parametrize("method", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_gradient_checkpointing_changes_no_weight(tiny_backbone: Path, tmp_path: Path, method: str) -> None:
    models = []
    for checkpointing in (False, True):
        settings = config(method=method, epochs=1, gradient_checkpointing=checkpointing)
        artifact = run(tmp_path / str(checkpointing), tiny_backbone, settings)
        models.append(load_file(artifact.file("model") / "model.safetensors"))
    torch.testing.assert_close(models[0], models[1])


def test_loss_on_valid_is_taken_on_a_sample(tiny_backbone: Path, tmp_path: Path) -> None:
    artifact = run(tmp_path, tiny_backbone, config(max_valid_histories=7))
    assert artifact.counts["n_valid_examples"] == 7


def test_nothing_to_train_on_is_an_error(tiny_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to train on"):
        run(tmp_path, tiny_backbone, config(tasks={"history": 0}))


def test_a_diverged_model_is_an_error_and_nothing_of_it_is_kept(tiny_backbone: Path, tmp_path: Path) -> None:
    settings = config(learning_rate=1e30, warmup_steps=0)
    with pytest.raises(TrainingError, match=r"training, step .*; lower finetune\.learning_rate \(1e\+30\)"):
        run(tmp_path, tiny_backbone, settings)
    assert not list(tmp_path.glob("tiny/finetune/*/manifest.json"))


@pytest.mark.parametrize(
    ("n_tokens", "changes"),
    [
        (63, {"window_items": 20, "tasks": {"history": 1}}),
        (45, {"window_items": 9, "tasks": {"history_to_title": 0.01}}),
    ],
)
def test_learned_positions_too_few_for_the_longest_sequence_are_refused_before_training(
    n_tokens: int, changes: dict[str, object], tiny_backbone: Path, tmp_path: Path
) -> None:
    """GPT-2 has a row per position and none beyond."""
    gpt2 = save_model(tmp_path / "gpt2", tiny_backbone, FAMILIES["gpt2"], n_positions=n_tokens - 1)
    settings = config(epochs=0.1, **changes)
    with pytest.raises(
        ConfigError, match=rf"sequence of this run has {n_tokens} tokens, .*\(gpt2\) sees {n_tokens - 1}; lower"
    ):
        run(tmp_path / "store", gpt2, settings)
    assert not list((tmp_path / "store").glob("tiny/finetune/*/work"))


def test_learned_positions_just_enough_are_enough(tiny_backbone: Path, tmp_path: Path) -> None:
    gpt2 = save_model(tmp_path / "gpt2", tiny_backbone, FAMILIES["gpt2"], n_positions=63)
    run(tmp_path / "store", gpt2, config(epochs=0.1, window_items=20, tasks={"history": 1}))


def test_a_family_that_scales_its_ends_is_trained_and_exported(tiny_backbone: Path, tmp_path: Path) -> None:
    """The check at export would refuse it otherwise."""
    backbone = save_model(tmp_path / "gemma", tiny_backbone, FAMILIES["gemma"])
    artifact = run(tmp_path / "store", backbone, config(epochs=1))
    assert artifact.counts["export_difference"] < 1e-4
