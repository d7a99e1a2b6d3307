"""Rows learn from texts with the LLM frozen, and fine-tuning starts from them."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tests.finetune.stage_run import SPACE, parents
from tests.keys import key_of
from tsrec.config import Config, FinetuneConfig, load_config
from tsrec.errors import ConfigError
from tsrec.finetune import GROUNDING, STAGE
from tsrec.store import Artifact, ArtifactStore, base_role

SETTINGS = {
    "finetune": {"epochs": 1, "warmup_steps": 2, "precision": "float32"},
    "grounding": {"epochs": 3, "batch_size": 8, "learning_rate": 0.02, "tasks": {"meaning_to_token": 0}},
}


@pytest.fixture(scope="module")
def config() -> Config:
    return Config.model_validate(SETTINGS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def before(store: ArtifactStore, tiny_backbone: Path) -> dict[str, Artifact]:
    return {name: artifact for name, artifact in parents(store, tiny_backbone).items() if name != "semantics"}


@pytest.fixture(scope="module")
def grounded(store: ArtifactStore, before: dict[str, Artifact], config: Config) -> Artifact:
    section = GROUNDING.section(config, extends=False)
    return store.build(key_of("grounding"), lambda out: GROUNDING.run(section, before, out))


def rows_of(artifact: Artifact) -> np.ndarray:
    return artifact.matrix("token_embeddings", "embedding")


def test_rows_learn_what_the_frozen_llm_reads_in_them(grounded: Artifact, before: dict[str, Artifact]) -> None:
    table = grounded.table("token_embeddings")
    assert table.column_names == before["sa_init"].table("token_embeddings").column_names
    assert table["token"].to_pylist() == SPACE.tokens()
    moved = np.linalg.norm(rows_of(grounded) - rows_of(before["sa_init"]), axis=1)
    assert (moved > 0.01).all()
    log = grounded.frame("training_log").query("split == 'train' and task == 'title_to_sid'")
    assert log["loss"].iloc[-1] < log["loss"].iloc[0] - 0.1
    assert set(grounded.frame("training_log").query("split == 'train'")["task"]) == {
        "title_to_sid",
        "sid_to_title",
        "token_to_meaning",
    }
    assert grounded.counts["n_trainable_parameters"] == SPACE.n_tokens * 32  # the rows, and nothing of the LLM


def test_fine_tuning_starts_from_the_grounded_rows(
    grounded: Artifact, before: dict[str, Artifact], store: ArtifactStore, tiny_backbone: Path
) -> None:
    standing = FinetuneConfig(learning_rate=1e-12, epochs=0.1, precision="float32", weight_decay=0.0)
    with_it = {**before, "grounding": grounded}
    made = store.build(key_of("finetune"), lambda out: STAGE.run(standing, with_it, out))
    weights = load_file(made.file("model") / "model.safetensors")["model.embed_tokens.weight"]
    n_text = len(AutoTokenizer.from_pretrained(tiny_backbone))
    np.testing.assert_allclose(weights[n_text:].numpy(), rows_of(grounded), atol=1e-6)


def test_a_refresh_trains_no_rows_alone(
    grounded: Artifact, before: dict[str, Artifact], store: ArtifactStore, config: Config
) -> None:
    with_base = {**before, base_role("grounding"): grounded}
    section = GROUNDING.section(config, extends=True)
    made = store.build(key_of("grounding", "1" * 16), lambda out: GROUNDING.run(section, with_base, out))
    np.testing.assert_array_equal(rows_of(made), rows_of(before["sa_init"]))
    assert made.counts == {"n_steps": 0}


def test_the_same_seed_gives_the_same_rows(
    grounded: Artifact, before: dict[str, Artifact], store: ArtifactStore, config: Config
) -> None:
    section = GROUNDING.section(config, extends=False)
    again = store.build(key_of("grounding", "2" * 16), lambda out: GROUNDING.run(section, before, out))
    assert rows_of(again).tobytes() == rows_of(grounded).tobytes()


def test_it_is_a_stage_only_where_it_is_asked_for() -> None:
    off, on = Config(), load_config(None, ["grounding.epochs=1", "grounding.tasks.title_to_sid=2"])
    assert "grounding" not in STAGE.parents(off)
    assert "grounding" in STAGE.parents(on)
    assert (on.grounding.tasks.history, on.grounding.tasks.sid_to_title) == (0, 1)  # the others stay as they are here
    recipe = GROUNDING.section(on, extends=False)
    assert (recipe.method, recipe.epochs, recipe.tasks.title_to_sid, recipe.patience) == ("sid-rows", 1, 2, None)
    prefixes = load_config(None, ["grounding.epochs=1", "finetune.semantics=prefix"])
    assert "semantics" in GROUNDING.parents(prefixes)
    assert "semantics" not in STAGE.parents(prefixes)


def test_nothing_to_be_grounded_on_is_refused() -> None:
    off = [f"grounding.tasks.{name}=0" for name in ("title_to_sid", "sid_to_title", "token_to_meaning")]
    with pytest.raises(ConfigError, match=r"grounding\.tasks: every weight is 0"):
        load_config(None, ["grounding.epochs=1", *off, "grounding.tasks.meaning_to_token=0"])
