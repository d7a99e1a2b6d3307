"""The keywords stage in a real store: its table, its counts, and going on after a kill."""

from pathlib import Path

import pandas as pd
import pytest

from tests.keys import key_of
from tsrec.config import KeywordsConfig
from tsrec.errors import TeacherError
from tsrec.keywords import STAGE
from tsrec.store import Artifact, ArtifactStore

from .conftest import KEY, ChatServer, Reply


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def ingest(store: ArtifactStore, items: pd.DataFrame) -> Artifact:
    return store.build(key_of("ingest"), lambda out: out.write_table("items", items))


def build(store: ArtifactStore, ingest: Artifact, config: KeywordsConfig) -> Artifact:
    return store.build(key_of("keywords"), lambda out: STAGE.run(config, {"ingest": ingest}, out).write())


def forget(store: ArtifactStore) -> None:
    """Remove what the store keeps of paid answers, so that shards alone save requests."""
    (store.root / "shared" / "keywords" / "answers.sqlite").unlink()


def openai_config(server: ChatServer) -> KeywordsConfig:
    endpoint = {
        "base_url": server.url,
        "model": "tiny",
        "max_retries": 0,
        "concurrency": 1,  # else the server may see a request that was cancelled later than the run that made it
        "usd_per_million_input_tokens": 1000.0,
        "usd_per_million_output_tokens": 5000.0,
    }
    return KeywordsConfig.model_validate({"teacher": "openai", "shard_items": 2, "openai": endpoint})


def test_keyless_table_does_not_depend_on_shards(store: ArtifactStore, ingest: Artifact, tmp_path: Path) -> None:
    artifact = build(store, ingest, KeywordsConfig(shard_items=4))
    other = build(ArtifactStore(tmp_path / "other"), ingest, KeywordsConfig())
    table = artifact.table("item_keywords")
    assert table.schema.names == ["item_id", "keywords", "source"]
    assert str(table.schema.field("keywords").type).startswith("list<")
    assert table["item_id"].to_pylist() == [f"i{n}" for n in range(6)]
    assert set(table["source"].to_pylist()) == {"keyless"}
    assert other.manifest.files == artifact.manifest.files
    assert artifact.counts == {"n_language_en": 6, "n_from_title": 0, "n_from_id": 0}


def test_a_killed_run_asks_only_for_the_missing_shards(
    store: ArtifactStore, ingest: Artifact, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("TSREC_TEACHER_URLS", server.url)
    server.script["i4"] = [Reply(401)]  # the key is withdrawn in the third shard
    with pytest.raises(TeacherError):
        build(store, ingest, openai_config(server))
    assert store.find(key_of("keywords")) is None
    forget(store)
    server.requests.clear()
    artifact = build(store, ingest, openai_config(server))
    assert server.asked == {"i4": 1, "i5": 1}
    assert artifact.table("item_keywords")["keywords"].to_pylist() == [[f"word of i{n}"] for n in range(6)]
    assert artifact.counts["input_tokens"] == 600  # of both attempts
    assert not (artifact.path / "work").exists()
    assert not any(KEY.encode() in path.read_bytes() for path in store.root.rglob("*") if path.is_file())


def test_tokens_cost_and_failures_are_counted(store: ArtifactStore, ingest: Artifact, server: ChatServer) -> None:
    server.always = lambda item: Reply(500) if item == "i1" else None
    artifact = build(store, ingest, openai_config(server))
    assert {name: count for name, count in artifact.counts.items() if count} == {
        "n_language_en": 6,
        "n_fallback": 1,
        "n_answers": 5,
        "input_tokens": 500,
        "output_tokens": 50,
        "cost_usd": 0.75,
    }
    assert artifact.counts["n_bad_answers"] == artifact.counts["n_refused_requests"] == 0
    assert artifact.table("item_keywords")["source"].to_pylist()[:2] == ["openai:tiny", "keyless-fallback"]


def test_a_shard_damaged_by_a_power_cut_is_drawn_again(
    store: ArtifactStore, ingest: Artifact, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script["i4"] = [Reply(401)]
    with pytest.raises(TeacherError):
        build(store, ingest, openai_config(server))
    damaged = store.root / (key_of("keywords").path + ".partial") / "work" / "0-2.parquet"
    damaged.write_bytes(damaged.read_bytes()[:300])
    forget(store)
    server.requests.clear()
    artifact = build(store, ingest, openai_config(server))
    assert server.asked == {"i0": 1, "i1": 1, "i4": 1, "i5": 1}
    assert artifact.table("item_keywords")["keywords"].to_pylist() == [[f"word of i{n}"] for n in range(6)]
    assert "0-2.parquet: " in caplog.text and "it will be made again" in caplog.text
