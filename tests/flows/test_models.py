"""`tsrec models`, and which model `tsrec recommend` and `Recommender.open` take."""

import json
from pathlib import Path

import pytest

from flows.cli import main
from tsrec import pipeline
from tsrec.config import Config, with_overrides
from tsrec.errors import ArtifactError
from tsrec.recommenders.recommender import Recommender
from tsrec.store import Artifact, ArtifactStore
from tsrec.store.champions import champion_of


@pytest.fixture(scope="module")
def models(config: Config, artifacts: dict[str, Artifact]) -> tuple[str, str]:
    """Fingerprints of two finished runs' models; the second differs in the fusion alone."""
    return artifacts["fuse"].fingerprint, pipeline.run(with_overrides(config, ["fuse.trees=3"]))["fuse"].fingerprint


@pytest.fixture
def options(config: Config, shop_settings: list[str]) -> list[str]:
    return [part for setting in [*shop_settings, f"store={config.store}"] for part in ("--set", setting)]


def _recommended_by(options: list[str], more: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["recommend", *options, *more, "--history", "i1", "--json"]) == 0
    return str(json.loads(capsys.readouterr().out.splitlines()[-1])["model"])


def test_the_first_run_is_the_champion_until_another_is_promoted(
    models: tuple[str, str], config: Config, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = models
    assert champion_of(ArtifactStore(config.store), "shop") == first
    assert _recommended_by(options, [], capsys) == first
    assert _recommended_by(options, ["--model", second[:6]], capsys) == second
    assert _recommended_by([*options, "--set", "fuse.trees=3"], ["--model", "profile"], capsys) == second
    assert _recommended_by([*options, "--set", "fuse.trees=3"], [], capsys) == first

    assert main(["models", "promote", *options, "--why", "fresher"]) == 0
    assert second in capsys.readouterr().out
    assert _recommended_by(options, [], capsys) == second
    assert main(["models", "list", *options]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line[:18] for line in listed] == [f"  {first}", f"* {second}"]
    assert "ndcg@10" in listed[0]

    assert main(["models", "rollback", *options]) == 0
    assert _recommended_by(options, [], capsys) == first
    assert main(["models", "show", *options]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 4 and "fresher" in shown[1] and shown[-1] == f"champion of shop: {first}"
    assert main(["models", "rollback", *options]) == 1
    assert "no earlier champion" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_said(config: Config) -> None:
    with pytest.raises(ArtifactError, match="no model of shop start with 'ffff'"):
        Recommender.open(config.store, "shop", model="ffff")


def test_a_dataset_without_models_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--set", f"store={tmp_path}"]) == 0
    assert "give `tsrec run` first" in capsys.readouterr().out
