"""The champion is followed: a promotion or rollback is served soon, and what cannot be opened changes nothing."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from tsrec.config import Config
from tsrec.errors import ArtifactError
from tsrec.recommenders.served_members import fit_served
from tsrec.serving.engine import Engine, Wish
from tsrec.store import ArtifactStore, Lineage
from tsrec.store.champions import promote, roll_back

PROMISED_S = 10.0


@pytest.fixture(params=["local", pytest.param("remote", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest, copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Of the store as a folder, and by its URL."""
    monkeypatch.setenv("HOME", str(copied.parent))  # where a remote store is mirrored
    engine = Engine(copied if request.param == "local" else f"file://{copied}", "shop", deadline_ms=60_000)
    engine.start()
    yield engine
    engine.stop()


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PROMISED_S
    while not what():
        assert time.monotonic() < end, "not within the time that is promised"
        time.sleep(0.05)


def test_a_promotion_and_a_rollback_are_served(engine: Engine, copied: Path, models: tuple[str, str]) -> None:
    first, second = models
    store = ArtifactStore(copied)
    old = engine.live
    assert old.fingerprint == engine.state()["model"] == first
    promote(store, "shop", second, "for a test", {})
    wait_for(lambda: engine.live.fingerprint == second)
    assert engine.live.methods == ("fused", "tsrec", "popular", "transitions")
    assert "sasrec" in old.methods, "who took the old one goes on with it"
    (answer,) = asyncio.run(engine.recommend([Wish(("i1",))]))
    assert answer.model == second
    roll_back(store, "shop", "for a test")
    wait_for(lambda: engine.live.fingerprint == first)


def test_a_champion_that_cannot_be_opened_is_told_and_the_old_one_goes_on(
    engine: Engine, copied: Path, models: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = models
    gate = copied / "shop" / "fuse" / second / "gate.json"
    whole = gate.read_bytes()
    gate.write_bytes(whole + b" ")
    promote(ArtifactStore(copied), "shop", second, "for a test", {})
    wait_for(lambda: engine.state()["problem"] is not None)
    assert engine.live.fingerprint == first
    assert second in engine.state()["problem"] and "damaged" in engine.state()["problem"]
    assert len([record for record in caplog.records if "goes on" in record.message]) == 1
    (answer,) = asyncio.run(engine.recommend([Wish(("i1",))]))
    assert answer.model == first
    gate.write_bytes(whole)
    wait_for(lambda: engine.live.fingerprint == second)
    assert engine.state()["problem"] is None


@pytest.mark.parametrize("stage", ["sasrec", "decode"])
def test_a_champion_of_another_version_says_which_of_its_settings_is_not_known(
    copied: Path, models: tuple[str, str], stage: str
) -> None:
    (manifest,) = (copied / "shop" / stage).glob("*/manifest.json")
    written = json.loads(manifest.read_text(encoding="utf-8"))
    config = written["key"]["config"]
    (config if stage == "sasrec" else config["own"])["layers_of_old"] = 3
    manifest.write_text(json.dumps(written), encoding="utf-8")
    said = (
        rf"model {models[0]} of shop was made by another version of tsrec: the settings of its stage "
        rf"shop/{stage}/\w+ do not fit this one \(unknown field 'layers_of_old'\)\. Make a new model with `tsrec run`"
    )
    with pytest.raises(ArtifactError, match=said):
        Engine(copied, "shop").start()


def test_members_that_were_fitted_later_take_their_places(copied: Path, config: Config) -> None:
    engine = Engine(copied, "shop")
    engine.start()
    before = engine.live
    store = ArtifactStore(copied)
    served = fit_served(store, Lineage(store).verified(before.fuse), config)
    wait_for(lambda: engine.live is not before)
    assert (before.served, engine.live.served) == (None, served.fingerprint)
    assert engine.live.fingerprint == before.fingerprint
    assert engine.live.catalogue.train_counts.sum() > before.catalogue.train_counts.sum(), "it counts all events"
    engine.stop()


def test_a_model_that_is_named_stays(copied: Path, models: tuple[str, str]) -> None:
    first, second = models
    engine = Engine(copied, "shop", model=second[:8])
    engine.start()
    promote(ArtifactStore(copied), "shop", first, "for a test", {})
    checked = engine.state()["last_check"]
    wait_for(lambda: engine.state()["last_check"] != checked)
    assert engine.live.fingerprint == second
    engine.stop()


@pytest.mark.slow
def test_a_promotion_in_a_bucket_is_served(
    store: Path, models: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs", reason="pip install -e '.[dev]'")
    pytest.importorskip("moto", reason="pip install -e '.[dev]'")
    from tests.store.s3_server import BUCKET, environment, serve_s3

    monkeypatch.setenv("HOME", str(tmp_path))
    with serve_s3() as server:
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3").clear_instance_cache()
        filesystem = fsspec.filesystem("s3")
        filesystem.mkdir(BUCKET)
        url = f"s3://{BUCKET}/store"
        filesystem.put(f"{store}/", url, recursive=True)
        engine = Engine(url, "shop", deadline_ms=60_000)
        engine.start()
        assert engine.live.fingerprint == models[0]
        promote(ArtifactStore(url), "shop", models[1], "for a test", {})
        wait_for(lambda: engine.live.fingerprint == models[1])
        (answer,) = asyncio.run(engine.recommend([Wish(("i1",))]))
        assert answer.model == models[1]
        engine.stop()
        filesystem.rm(BUCKET, recursive=True)  # the server's memory outlives it
