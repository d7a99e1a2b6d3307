"""The rl stage: it learns, a kill changes no byte of it, and it says where there is nothing to learn."""

import signal
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoModelForCausalLM

from tests.finetune.stage_run import config as finetune_config
from tests.finetune.stage_run import parents, rl_settings, run, run_rl
from tests.forked import PROCESSES
from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.config import Config, canonical, load_config
from tsrec.errors import ConfigError, DataError, TrainingError
from tsrec.finetune import RL
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter


@pytest.fixture(scope="module")
def before(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """What the stage is handed: a shop, and an LLM that knows a little of it."""
    folder = tmp_path_factory.mktemp("store")
    trained = run(folder, tiny_backbone, finetune_config(tasks={"history": 1}, epochs=4, learning_rate=5e-3))
    shop = parents(ArtifactStore(folder), tiny_backbone)
    return {"ingest": shop["ingest"], "sids": shop["sids"], "finetune": trained}


@pytest.fixture(scope="module")
def learned(before: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run_rl(tmp_path_factory.mktemp("rl"), before, rl_settings(epochs=12))


def test_the_reward_rises(learned: Artifact, before: dict[str, Artifact]) -> None:
    log = learned.frame("training_log").pivot_table(index="step", columns="task", values="loss")
    assert set(log.columns) == {"reward", "hit", "kl"}
    assert log["reward"].iloc[-4:].mean() > 1.3 * log["reward"].iloc[:4].mean()
    assert log["hit"].between(0, 1).all()
    assert log["kl"].iloc[-1] > log["kl"].iloc[0]  # it began as the reference
    counts = learned.counts
    assert (counts["reward_first"], counts["reward_last"]) == pytest.approx(
        (log["reward"].iloc[0], log["reward"].iloc[-1]), abs=1e-5
    )
    interactions = before["ingest"].frame("interactions")
    n_targets = ((interactions[C.SPLIT] == "train") & (interactions[C.POSITION] > 0)).sum()
    assert (counts["n_train_targets"], counts["n_groups"]) == (n_targets, 12 * n_targets)
    assert 0 < counts["share_of_groups_with_next_item"] < 1


def test_it_writes_a_model_like_fine_tunings(learned: Artifact, before: dict[str, Artifact]) -> None:
    folders = [artifact.file("model") for artifact in (before["finetune"], learned)]
    old, new = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in folders)
    assert {name: weights.shape for name, weights in old.items()} == {name: w.shape for name, w in new.items()}
    assert any((old[name] != new[name]).any() for name in old)
    assert len({tuple(sorted(path.name for path in folder.iterdir())) for folder in folders}) == 1


def test_a_strong_pull_to_the_reference_keeps_it_there(before: dict[str, Artifact], tmp_path: Path) -> None:
    settings = {kl: rl_settings(kl=kl, epochs=1) for kl in (1e-3, 10)}
    free, held = (run_rl(tmp_path / str(kl), before, mine).frame("training_log") for kl, mine in settings.items())
    ends = [log[log["task"] == "kl"]["loss"].iloc[-1] for log in (free, held)]
    assert ends[1] < ends[0] / 2


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_bytes(before: dict[str, Artifact], tmp_path: Path) -> None:
    def exit_code(folder: str, death: int | None = None) -> int | None:
        process = PROCESSES.Process(target=run_rl, args=(tmp_path / folder, before, rl_settings(epochs=1.5), death))
        process.start()
        process.join()
        return process.exitcode

    def weights(folder: str) -> bytes:
        return next((tmp_path / folder).glob("tiny/rl/*/model/model.safetensors")).read_bytes()

    assert exit_code("whole") == 0
    assert exit_code("killed", death=9) == -signal.SIGKILL
    assert exit_code("killed") == 0
    assert weights("killed") == weights("whole")


def _ingest_of(before: dict[str, Artifact], events: pd.DataFrame, folder: Path) -> Artifact:
    """The same items with other events."""

    def write(out: ArtifactWriter) -> None:
        out.write_table("items", before["ingest"].table("items"))
        out.write_table("interactions", events)

    return ArtifactStore(folder).build(key_of("ingest", "1" * 16), write)


def test_lists_that_never_hold_the_next_item_are_an_error(before: dict[str, Artifact], tmp_path: Path) -> None:
    """Two beams, of targets whose items the model has never seen: one target, seen once, is one that it misses."""
    table = before["ingest"].frame("interactions")
    few = table[(table[C.USER] == "u00") & (table[C.POSITION] < 2)].assign(**{C.SPLIT: "train"})
    small = _ingest_of(before, few.assign(**{C.ITEM: ["i00", "i29"]}), tmp_path)
    with pytest.raises(TrainingError, match=r"in none of 1 lists of 2 stood the next item.*rl\.beams \(2\)"):
        run_rl(tmp_path, {**before, "ingest": small}, rl_settings(beams=2, epochs=1))
    assert not list(tmp_path.glob("tiny/rl/*/manifest.json"))


def test_no_train_target_is_an_error(before: dict[str, Artifact], tmp_path: Path) -> None:
    table = before["ingest"].frame("interactions")
    alone = _ingest_of(before, table[table[C.POSITION] == 0], tmp_path)
    with pytest.raises(DataError, match="no user has two train events"):
        run_rl(tmp_path, {**before, "ingest": alone}, rl_settings())


def test_divergence_names_the_rate_of_the_section(before: dict[str, Artifact], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"lower rl\.learning_rate \(1e\+30\)"):
        run_rl(tmp_path, before, rl_settings(learning_rate=1e30))


def test_off_it_is_no_stage_and_in_no_fingerprint() -> None:
    assert canonical(Config.model_validate({"rl": {"beams": 4}})) == canonical(Config())
    assert "rl" not in canonical(Config())
    settings = RL.section(load_config(None, ["rl.epochs=0.5", "finetune.dropout=0.4"]), extends=False)
    recipe = settings.recipe()
    assert (recipe.dropout, recipe.weight_decay, recipe.patience, recipe.learning_rate) == (0, 0, None, 1e-5)


def test_a_model_that_knows_no_histories_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rl\.epochs = 1 .*finetune\.tasks\.history = 0"):
        load_config(None, ["rl.epochs=1", "finetune.tasks.history=0", "finetune.tasks.title_to_sid=1"])
