"""A store with two models of the shop: one of all members, which is the champion, and one of fewer."""

import shutil
from pathlib import Path

import pytest

from tsrec import pipeline
from tsrec.config import Config, load_config, with_overrides
from tsrec.pipeline.promotion import promote_first
from tsrec.store import ArtifactStore

FEWER = "members.methods=[popular, transitions]"


@pytest.fixture(scope="session")
def config(shop_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The settings of the champion."""
    return load_config(None, [*shop_settings, f"store={tmp_path_factory.mktemp('store')}"])


@pytest.fixture(scope="session")
def models(config: Config) -> tuple[str, str]:
    """Fingerprints of the champion and of the other model."""
    artifacts = pipeline.run(config)
    promote_first(ArtifactStore(config.store), config.dataset, artifacts)
    other = pipeline.run(with_overrides(config, [FEWER]))
    return artifacts["fuse"].fingerprint, other["fuse"].fingerprint


@pytest.fixture(scope="session")
def store(config: Config, models: tuple[str, str]) -> Path:
    """Where the store is; its champion stays."""
    assert models
    return Path(config.store)


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    """A copy of it, whose champion may be moved."""
    return Path(shutil.copytree(store, tmp_path / "store"))
