"""What beginnings of SIDs mean: keywords of their own items alone, and descriptions by a template or a real server."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.config import Config, load_config
from tsrec.errors import ConfigError, TeacherError
from tsrec.keywords import SEMANTICS
from tsrec.keywords.settings import cluster_semantics
from tsrec.pipeline import plan
from tsrec.store import Artifact, ArtifactStore

from .conftest import KEY, ChatServer, Reply

# Two families, <a_0> and <a_1>; the token <b_0> mixes children of both.
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


def config_of(semantics: str, endpoint: dict[str, Any] | None = None, **own: Any) -> Config:
    values = {
        "finetune": {"semantics": semantics, "tasks": {"token_to_meaning": 1}},
        "semantics": {"teacher": "openai" if endpoint else "keyless", **own},
        "keywords": {"openai": endpoint or {}},
    }
    return Config.model_validate(values)


def build(store: ArtifactStore, parents: dict[str, Artifact], config: Config, mark: str = "0" * 16) -> Artifact:
    section = cluster_semantics(config)
    return store.build(key_of("semantics", mark), lambda out: SEMANTICS.run(section, parents, out))


def rows_of(artifact: Artifact) -> dict[str, dict[str, Any]]:
    return {row[C.TOKEN]: row for row in artifact.table("token_semantics").to_pylist()}


def test_a_beginning_means_what_its_own_items_share_and_its_siblings_lack(
    store: ArtifactStore, parents: dict[str, Artifact]
) -> None:
    artifact = build(store, parents, config_of("prefix", n_keywords=2))
    rows = rows_of(artifact)
    assert set(rows) == {"<a_0><b_0>", "<a_0><b_1>", "<a_1><b_0>"}  # <a_1><b_1> has one item
    assert artifact.counts["n_prefixes_of_few_items"] == 1
    # Of the token <b_0>, `strong` would come first, and the two families would be mixed.
    assert rows["<a_0><b_0>"][C.KEYWORDS] == ["strong", "glue"]
    assert rows["<a_0><b_1>"][C.KEYWORDS] == ["stick", "glue"]
    assert rows["<a_1><b_0>"][C.KEYWORDS] == ["steel", "screw"]
    assert rows["<a_0><b_1>"][C.N_ITEMS] == 2
    assert rows["<a_1><b_0>"][C.LEVEL] == 1


def test_against_the_whole_level_other_families_count_too(store: ArtifactStore, parents: dict[str, Artifact]) -> None:
    """Among the children of <a_0>, `strong` is rarer than `glue`; among all beginnings of its length it is not."""
    level = rows_of(build(store, parents, config_of("prefix", contrast="level", n_keywords=2)))
    assert level["<a_0><b_0>"][C.KEYWORDS] == ["glue", "strong"]
    assert level["<a_1><b_0>"][C.KEYWORDS] == ["steel", "screw"]


def test_a_beginning_of_one_item_is_described_where_it_is_asked_for(
    store: ArtifactStore, parents: dict[str, Artifact]
) -> None:
    one = config_of("prefix", min_items=1, n_keywords=1)
    brass = rows_of(build(store, parents, one, "2" * 16))["<a_1><b_1>"]
    assert brass[C.KEYWORDS] == ["brass"]


def test_the_template_names_keywords_and_nearest_items(store: ArtifactStore, parents: dict[str, Artifact]) -> None:
    rows = rows_of(build(store, parents, config_of("both", n_keywords=2)))
    assert set(rows) == {"<a_0><b_0>", "<a_0><b_1>", "<a_1><b_0>"}  # single tokens stand in sa_init
    assert rows["<a_0><b_0>"][C.DESCRIPTION] == "strong, glue: for example Epoxy A; Epoxy B"
    assert rows["<a_0><b_0>"][C.SOURCE] == "template"


def test_beginnings_of_single_items_alone_leave_an_empty_table(
    store: ArtifactStore, parents: dict[str, Artifact]
) -> None:
    artifact = build(store, parents, config_of("both", min_items=3))
    assert artifact.counts["n_clusters"] == 0
    assert artifact.table("token_semantics").num_rows == 0


def test_the_stage_is_planned_only_where_it_is_needed(raw: list[str]) -> None:
    def planned(*overrides: str) -> dict[str, Any]:
        return plan(load_config(None, [*raw, *overrides]))

    aligned = "finetune.tasks.token_to_keywords=1"
    assert "semantics" not in planned()
    assert "semantics" not in planned(aligned)
    assert "semantics" not in planned("finetune.semantics=prefix")
    assert "semantics" not in planned("finetune.semantics=prefix", "finetune.tasks.items_to_token=1")
    both = planned(aligned, "finetune.semantics=both")
    assert both["finetune"].parents["semantics"] == "semantics"
    # What only says where rows start does not ask the teacher again.
    other = planned(aligned, "finetune.semantics=both", "sa_init.norm=1", "finetune.epochs=1")
    assert other["semantics"].key == both["semantics"].key
    assert other["finetune"].key != both["finetune"].key
    assert planned(aligned, "semantics.teacher=openai")["semantics"].key.config["openai"]["model"] == "gpt-4o-mini"


@pytest.fixture
def raw(tmp_path: Path) -> list[str]:
    folder = tmp_path / "raw"
    folder.mkdir()
    pd.DataFrame({"item_id": ["i1"], "title": ["Glue"]}).to_csv(folder / "items.csv", index=False)
    events = pd.DataFrame({"user_id": ["u"], "item_id": ["i1"], "timestamp": [1]})
    events.to_csv(folder / "interactions.csv", index=False)
    return ["ingest.source=tables", f"ingest.path={folder}"]


def described(server: ChatServer) -> dict[str, dict[str, Any]]:
    """What the server was told of each cluster."""
    told = [json.loads(request["messages"][1]["content"]) for request in server.requests]
    return {cluster["name"]: cluster for cluster in told}


def endpoint_of(server: ChatServer) -> dict[str, Any]:
    return {"base_url": server.url, "model": "tiny", "max_retries": 0, "usd_per_million_output_tokens": 1000.0}


def say(name: str, words: str | None = None) -> Reply:
    return Reply(content=json.dumps({"name": name, "description": words or f" About\n{name}. "}))


@pytest.fixture
def words(server: ChatServer, allowed: None) -> ChatServer:
    """The server describes every cluster, `refused` aside."""
    server.name_field = "name"
    server.always = say
    return server


def test_the_teacher_describes_single_tokens_and_beginnings(
    store: ArtifactStore, parents: dict[str, Artifact], words: ChatServer
) -> None:
    artifact = build(store, parents, config_of("both", endpoint_of(words), n_keywords=1))
    rows = rows_of(artifact)
    assert set(rows) == {"<a_0>", "<a_1>", "<b_0>", "<b_1>", "<a_0><b_0>", "<a_0><b_1>", "<a_1><b_0>"}
    assert rows["<a_0><b_1>"][C.DESCRIPTION] == "About <a_0><b_1>."
    assert {row[C.SOURCE] for row in rows.values()} == {"openai:tiny"}
    assert described(words)["<a_1><b_0>"] == {
        "name": "<a_1><b_0>",
        "keywords": ["steel"],
        "titles": ["Steel A", "Steel B"],
    }
    assert artifact.counts["output_tokens"] == 70
    assert artifact.counts["cost_usd"] == 0.07
    assert artifact.counts["n_fallback"] == 0
    only = build(store, parents, config_of("prefix", endpoint_of(words), n_keywords=1), "1" * 16)
    assert set(rows_of(only)) == set(rows) - {"<b_0>", "<b_1>"}  # a first token is a beginning too


def test_no_cluster_is_paid_for_twice(store: ArtifactStore, parents: dict[str, Artifact], words: ChatServer) -> None:
    build(store, parents, config_of("token", endpoint_of(words)))
    assert set(described(words)) == {"<a_0>", "<a_1>", "<b_0>", "<b_1>"}
    words.requests.clear()
    again = build(store, parents, config_of("both", endpoint_of(words)), "1" * 16)
    assert set(described(words)) == {"<a_0><b_0>", "<a_0><b_1>", "<a_1><b_0>"}
    assert again.counts["n_answers_known"] == 4
    assert rows_of(again)["<b_0>"][C.DESCRIPTION] == "About <b_0>."


def test_what_the_teacher_fails_on_gets_the_template_and_is_counted(
    store: ArtifactStore, parents: dict[str, Artifact], words: ChatServer
) -> None:
    bad = {"<a_0><b_1>": [say("<a_0>")] * 3, "<a_1><b_0>": [say("<a_1><b_0>", "x" * 1001), say("<a_1><b_0>", "ok")]}
    words.always = lambda name: bad[name].pop(0) if bad.get(name) else say(name)
    artifact = build(store, parents, config_of("prefix", endpoint_of(words), n_keywords=1))
    rows = rows_of(artifact)
    assert rows["<a_0><b_1>"][C.DESCRIPTION] == "stick: for example Stick A; Stick B"
    assert rows["<a_0><b_1>"][C.SOURCE] == "template-fallback"
    assert rows["<a_1><b_0>"][C.DESCRIPTION] == "ok"
    assert artifact.counts["n_fallback"] == 1
    assert artifact.counts["n_bad_answers"] == 4


def test_an_endpoint_that_refuses_stops_the_stage(
    store: ArtifactStore, parents: dict[str, Artifact], words: ChatServer
) -> None:
    words.always = lambda _: Reply(401)
    with pytest.raises(TeacherError, match="refused") as error:
        build(store, parents, config_of("prefix", endpoint_of(words)))
    assert KEY not in str(error.value)


def test_imported_meanings_are_not_described_again() -> None:
    overrides = [
        "sa_init.import_file=made.json",
        "semantics.teacher=openai",
        "finetune.tasks.token_to_meaning=1",
    ]
    with pytest.raises(ConfigError, match=r"sa_init\.import_file does already"):
        load_config(None, overrides)
    assert not cluster_semantics(load_config(None, [*overrides, "finetune.semantics=both"])).single_tokens
