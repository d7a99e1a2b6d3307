"""What tokens mean in a teacher's words: a real server is asked, once for each."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.config import OpenAIConfig, load_config
from tsrec.errors import ConfigError
from tsrec.keywords import SEMANTICS
from tsrec.pipeline import plan
from tsrec.store import Artifact, ArtifactStore

from .conftest import ChatServer, Reply

CODES = [[0, 0], [0, 0], [0, 1], [0, 1], [1, 0], [1, 0], [1, 1]]
KEYWORDS = [
    ["glue", "strong"],
    ["glue", "strong"],
    ["glue", "stick"],
    ["glue", "stick"],
    ["screw", "steel", "strong"],
    ["screw", "steel", "strong"],
    ["screw", "brass", "strong"],
]
TITLES = ["Epoxy A", "Epoxy B", "Stick A", "Stick B", "Steel A", "Steel B", "Brass"]
VECTORS = [[1, 0], [1, 1], [0, 1], [1, 0], [1, 0], [0, 1], [1, 0]]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def parents(store: ArtifactStore) -> dict[str, Artifact]:
    items = [f"i{n}" for n in range(7)]
    other = items[::-1]  # tables are joined by item_id, whatever their order
    tables = {
        "ingest": ("items", pa.table({C.ITEM: other, C.TITLE: TITLES[::-1]})),
        "keywords": ("item_keywords", pa.table({C.ITEM: other, C.KEYWORDS: KEYWORDS[::-1]})),
        "sids": ("item_sids", pa.table({C.ITEM: items, C.CODES: pa.array(CODES, pa.list_(pa.int16()))})),
        "embed": (
            "item_embeddings",
            pa.table({C.ITEM: other, C.EMBEDDING: pa.array(VECTORS[::-1], pa.list_(pa.float32()))}),
        ),
    }
    return {
        stage: store.build(key_of(stage), lambda out, name=name, table=table: out.write_table(name, table))
        for stage, (name, table) in tables.items()
    }


def build(store: ArtifactStore, parents: dict[str, Artifact], server: ChatServer, mark: str = "0" * 16) -> Artifact:
    settings = OpenAIConfig(base_url=server.url, model="tiny", max_retries=0, usd_per_million_output_tokens=1000.0)
    return store.build(key_of("semantics", mark), lambda out: SEMANTICS.run(settings, parents, out))


def rows_of(artifact: Artifact) -> dict[str, dict[str, Any]]:
    return {row[C.TOKEN]: row for row in artifact.table("token_semantics").to_pylist()}


def test_the_stage_is_planned_only_where_it_is_needed(shop_settings: list[str]) -> None:
    def planned(*overrides: str) -> dict[str, Any]:
        return plan(load_config(None, [*shop_settings, "finetune.tasks={history: 1}", *overrides]))

    aligned, asked = "finetune.tasks.token_to_keywords=1", "semantics.teacher=openai"
    assert "semantics" not in planned()
    assert "semantics" not in planned(aligned)
    assert "semantics" not in planned(asked)
    both = planned(aligned, asked)
    assert both["finetune"].parents["semantics"] == "semantics"
    assert both["semantics"].key.config["model"] == "gpt-4o-mini"
    # What only says where rows start does not ask the teacher again.
    other = planned(aligned, asked, "sa_init.norm=1", "finetune.epochs=1")
    assert other["semantics"].key == both["semantics"].key
    assert other["finetune"].key != both["finetune"].key


def described(server: ChatServer) -> dict[str, dict[str, Any]]:
    """What the server was told of each cluster."""
    told = [json.loads(request["messages"][1]["content"]) for request in server.requests]
    return {cluster["name"]: cluster for cluster in told}


def say(name: str, words: str | None = None) -> Reply:
    return Reply(content=json.dumps({"name": name, "description": words or f" About\n{name}. "}))


@pytest.fixture
def words(server: ChatServer, allowed: None) -> ChatServer:
    """The server describes every cluster, `refused` aside."""
    server.name_field = "name"
    server.always = say
    return server


def test_the_teacher_describes_every_token(
    store: ArtifactStore, parents: dict[str, Artifact], words: ChatServer
) -> None:
    artifact = build(store, parents, words)
    rows = rows_of(artifact)
    assert list(rows) == ["<a_0>", "<a_1>", "<b_0>", "<b_1>"]
    assert rows["<b_1>"][C.DESCRIPTION] == "About <b_1>."
    assert (rows["<b_1>"][C.LEVEL], rows["<b_1>"][C.N_ITEMS]) == (1, 3)
    assert {row[C.SOURCE] for row in rows.values()} == {"openai:tiny"}
    # `strong` is as frequent as `screw` in it, and comes late: the level's other token has it too.
    assert described(words)["<a_1>"] == {
        "name": "<a_1>",
        "keywords": ["screw", "steel", "strong", "brass"],
        "titles": ["Steel A", "Brass", "Steel B"],
    }
    assert artifact.counts["output_tokens"] == 40
    assert artifact.counts["cost_usd"] == 0.04
    assert artifact.counts["n_fallback"] == 0


def test_no_cluster_is_paid_for_twice(store: ArtifactStore, parents: dict[str, Artifact], words: ChatServer) -> None:
    build(store, parents, words)
    words.requests.clear()
    again = build(store, parents, words, "1" * 16)
    assert not words.requests
    assert again.counts["n_answers_known"] == 4
    assert rows_of(again)["<b_0>"][C.DESCRIPTION] == "About <b_0>."


def test_what_the_teacher_fails_on_gets_the_template_and_is_counted(
    store: ArtifactStore, parents: dict[str, Artifact], words: ChatServer
) -> None:
    bad = {"<a_0>": [say("<a_1>")] * 3, "<b_0>": [say("<b_0>", "x" * 1001), say("<b_0>", "ok")]}
    words.always = lambda name: bad[name].pop(0) if bad.get(name) else say(name)
    artifact = build(store, parents, words)
    rows = rows_of(artifact)
    assert rows["<a_0>"][C.DESCRIPTION] == "glue, stick, strong: for example Epoxy B; Epoxy A"
    assert rows["<a_0>"][C.SOURCE] == "template-fallback"
    assert rows["<b_0>"][C.DESCRIPTION] == "ok"
    assert artifact.counts["n_fallback"] == 1
    assert artifact.counts["n_bad_answers"] == 4


def test_imported_meanings_are_not_described_again() -> None:
    overrides = ["sa_init.import_file=made.json", "semantics.teacher=openai"]
    assert load_config(None, overrides).semantics.teacher == "openai"  # nobody reads either
    with pytest.raises(ConfigError, match=r"sa_init\.import_file does already"):
        load_config(None, [*overrides, "finetune.tasks.token_to_meaning=1"])
