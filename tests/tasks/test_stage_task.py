"""What every stage task promises: cached by artifact, no retry of deliberate errors, final names in the UI."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from tasks.publishing import artifact_key, publish_codebook_health
from tasks.stage_task import stage_task
from tests.finetune.stage_run import config, parents
from tests.keys import key_of
from tsrec import finetune
from tsrec.config import Config, KeywordsConfig
from tsrec.errors import DataError
from tsrec.pipeline import PlannedStage
from tsrec.stage import Stage
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def _planned(run: Any) -> PlannedStage:
    stage = Stage(name="sids", version=1, config=lambda c: c.keywords, parents=lambda c: (), run=run)
    return PlannedStage("sids", stage, Config().keywords, key_of("sids", "0123456789abcdef", "my_shop"), {})


def _write_health(config: KeywordsConfig, parents: Mapping[str, Artifact], out: ArtifactWriter) -> None:
    out.write_table("codebook_health", pd.DataFrame({"level": [0, 1], "perplexity": [3.5, float("nan")]}))
    out.count(n_moved=2)


def _state(
    task: Any, planned: PlannedStage, store: ArtifactStore, made: Mapping[str, Artifact] = MappingProxyType({})
) -> State[Any]:
    states = []

    @flow
    def one_stage() -> None:
        states.append(task(planned, store, dict(made), return_state=True))

    one_stage()
    return states[0]


def test_first_run_builds_and_the_second_is_cached(store: ArtifactStore) -> None:
    planned, task = _planned(_write_health), stage_task("sids")
    built = _state(task, planned, store)
    again = _state(task, planned, store)
    assert (built.name, again.name) == ("Completed", "Cached")
    assert again.is_completed()
    assert again.message == f"found {planned.key.path}"
    assert again.result().frame("codebook_health")["level"].tolist() == [0, 1]


@pytest.mark.parametrize(("error", "n_attempts"), [(DataError("bad row 3"), 1), (OSError("no route"), 3)])
def test_only_unforeseen_errors_are_retried(store: ArtifactStore, error: Exception, n_attempts: int) -> None:
    attempts = []

    def fail(config: KeywordsConfig, parents: Mapping[str, Artifact], out: ArtifactWriter) -> None:
        attempts.append(1)
        raise error

    with pytest.raises(type(error), match=str(error)):
        _state(stage_task("sids", retries=2), _planned(fail), store).result()
    assert len(attempts) == n_attempts


def test_a_retry_finds_what_the_failed_attempt_kept(store: ArtifactStore) -> None:
    def fail_once(config: KeywordsConfig, parents: Mapping[str, Artifact], out: ArtifactWriter) -> None:
        shard = out.work / "shard-0"
        if not shard.exists():
            shard.touch()
            raise OSError("cut off")
        out.write_json("done", True)

    assert _state(stage_task("sids", retries=1), _planned(fail_once), store).is_completed()


def test_the_codebook_shows_as_a_table_in_every_run(store: ArtifactStore) -> None:
    planned, task = _planned(_write_health), stage_task("sids", publish=publish_codebook_health)
    for _ in range(2):
        _state(task, planned, store)
    wanted = {"artifacts": {"key": {"any_": ["codebook-my-shop"]}}}
    with get_client(sync_client=True) as client:
        tables = client.request("POST", "/artifacts/filter", json=wanted).json()
    assert len(tables) == 2
    assert tables[0]["description"] == "Codebook health by level. n_moved 2"
    assert json.loads(tables[0]["data"])[1] == {"level": 1, "perplexity": None}


@pytest.mark.slow
def test_fine_tuning_in_two_processes_is_a_task_as_any_other(store: ArtifactStore, tiny_backbone: Path) -> None:
    before = parents(store, tiny_backbone)
    settings = config(method="lora", processes=2)
    planned = PlannedStage("finetune", finetune.STAGE, settings, key_of("finetune"), {name: name for name in before})
    state = _state(stage_task("finetune"), planned, store, before)
    assert state.name == "Completed"
    assert set(state.result().frame("training_log")["split"]) == {"train", "valid"}
    wanted = {"artifacts": {"key": {"any_": ["progress-tiny-finetune"]}}}
    with get_client(sync_client=True) as client:
        shown = client.request("POST", "/artifacts/filter", json=wanted).json()
    assert ("training", 100) in {(bar["description"], bar["data"]) for bar in shown}


def test_artifact_keys_hold_dashes_only() -> None:
    assert artifact_key("metrics", "ml_100k.v2") == "metrics-ml-100k-v2"
