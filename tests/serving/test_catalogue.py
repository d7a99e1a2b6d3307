"""What is asked about items, tokens, users and the model: every endpoint beside `/recommend`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.serving.live_app import open_app
from tsrec.recommenders.explain import Explainer
from tsrec.recommenders.model_lookup import find_model
from tsrec.store import Artifact, ArtifactStore, FlowRun, Lineage, record_run

N_ITEMS = 48


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[TestClient]:
    with open_app(store) as client:
        yield client


@pytest.fixture(scope="module")
def lineage(store: Path) -> Lineage:
    return Lineage(ArtifactStore(store))


@pytest.fixture(scope="module")
def fuse(lineage: Lineage) -> Artifact:
    return find_model(lineage, "shop")


def _get(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_items_are_found_by_words_of_their_titles(client: TestClient) -> None:
    found = _get(client, "/items", query="glue stick", limit=3)
    assert found["total"] == 8
    assert all("glue stick" in item["title"] for item in found["items"])
    pages = [_get(client, "/items", query="glue", limit=3, offset=start)["items"] for start in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 2, 0]
    assert len({item["item_id"] for page in pages for item in page}) == 8
    everything = _get(client, "/items", limit=1000)
    assert everything["total"] == len(everything["items"]) == N_ITEMS
    assert everything["items"][0]["item_id"] == _get(client, "/popular", k=1)["items"][0]["item_id"]
    assert everything["items"][0]["columns"]["description"]


def test_searches_are_narrowed_to_a_column(client: TestClient) -> None:
    (column,) = _get(client, "/columns")["columns"]
    assert column["column"] == "description"
    kinds = {value["value"]: value["n_items"] for value in column["values"]}
    assert len(kinds) == 6 and set(kinds.values()) == {8}
    found = _get(client, "/items", query="model a", column="description", value="glue stick")
    assert [item["item_id"] for item in found["items"]] == ["i1"] and found["total"] == 1
    assert _get(client, "/items", column="description", value="steel")["total"] == 0


def test_an_item_with_its_sid_in_words(client: TestClient, lineage: Lineage, fuse: Artifact) -> None:
    item, about = _get(client, "/items/i1"), Explainer(lineage, fuse).describe("i1")
    assert item["title"] == about["title"] == "glue stick model a heavy duty"
    assert item["text"].startswith("glue stick")
    assert item["sid"] == list(about["tokens"]) == [token["token"] for token in item["tokens"]]
    assert [token["keywords"] for token in item["tokens"]] == list(about["tokens"].values())
    assert all(token["n_items"] >= 1 and token["description"] for token in item["tokens"])


def test_titles_come_as_text_never_as_markup(client: TestClient) -> None:
    answer = client.get("/items/i0")
    assert "claw hammer" in answer.json()["title"]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("by", ["text", "together", "sid"])
def test_similar_items(client: TestClient, lineage: Lineage, fuse: Artifact, by: str) -> None:
    found = _get(client, "/items/i1/similar", by=by, k=5)
    scores = [item["score"] for item in found["items"]]
    assert found["by"] == by and scores == sorted(scores, reverse=True) and 0 < len(scores) <= 5
    ids = [item["item_id"] for item in found["items"]]
    assert "i1" not in ids and len(set(ids)) == len(ids)
    if by == "text":
        embeddings = lineage.ancestor(fuse, "embed").frame("item_embeddings").set_index("item_id")["embedding"]
        cosines = embeddings.map(lambda row: row @ embeddings["i1"] / np.linalg.norm(row)).drop("i1")
        cosines /= np.linalg.norm(embeddings["i1"])
        assert scores == pytest.approx(cosines.nlargest(5).tolist(), abs=1e-5)
    if by == "together":
        assert all(int(item[1:]) % 6 == 1 for item in ids), "users stay within one kind of item"
    if by == "sid":
        sids = {item: _get(client, f"/items/{item}")["sid"] for item in ["i1", *ids]}
        shared = [next(n for n in (3, 2, 1, 0) if sids[item][:n] == sids["i1"][:n]) for item in ids]
        assert shared == scores


def test_all_tokens_and_one_of_them(client: TestClient) -> None:
    levels = _get(client, "/tokens")["levels"]
    assert [level["level"] for level in levels] == [1, 2, 3]
    assert [sum(token["n_items"] for token in level["tokens"]) for level in levels] == [N_ITEMS] * 3
    first = levels[0]["tokens"][0]
    token = _get(client, f"/tokens/{quote(first['token'])}")
    assert {name: token[name] for name in first} == first and token["level"] == 1
    assert sum(child["n_items"] for child in token["children"]) == first["n_items"]
    assert 0 < len(token["commonest"]) <= 10
    child = token["children"][0]
    below = _get(client, f"/tokens/{quote(child['token'])}", under=first["token"])
    assert below["n_items"] == child["n_items"] == sum(one["n_items"] for one in below["children"])
    last = below["children"][0]["token"]
    leaf = _get(client, f"/tokens/{quote(last)}", under=f"{first['token']},{child['token']}")
    assert leaf["children"] == [] and leaf["n_items"] == len(leaf["commonest"])
    assert _get(client, f"/tokens/{first['token'].strip('<>')}") == token


def test_tokens_are_found_by_item_spelling_and_words(client: TestClient) -> None:
    sid = _get(client, "/items/i1")["sid"]
    assert [token["token"] for token in _get(client, "/tokens", query="i1")["tokens"]] == sid
    assert [token["token"] for token in _get(client, "/tokens", query=sid[1])["tokens"]] == [sid[1]]
    found = _get(client, "/tokens", query="glu")["tokens"]
    assert found and all(any("glu" in word for word in token["keywords"]) for token in found)
    assert _get(client, "/tokens", query="no such word")["tokens"] == []


def test_users(client: TestClient, lineage: Lineage, fuse: Artifact) -> None:
    found = _get(client, "/users", query="u5", limit=3)["users"]
    assert [user["user_id"] for user in found] == ["u5", "u50", "u51"]
    for user in found:
        assert user["n_events"] == len(_get(client, f"/users/{user['user_id']}")["history"])
    for user in ("u0", "u9", "u59"):
        found = _get(client, f"/users/{user}")
        assert found["history"] == Explainer(lineage, fuse).history_of(user)
        assert [item["item_id"] for item in found["items"]] == found["history"]


def test_the_model(client: TestClient, models: tuple[str, str]) -> None:
    model = _get(client, "/model")
    assert (model["fingerprint"], model["dataset"], model["n_items"], model["n_users"]) == (models[0], "shop", 48, 60)
    assert model["methods"][0] == "fused" and "tsrec" in model["methods"]
    hit = [row for row in model["metrics"] if (row["method"], row["metric"], row["k"]) == ("fused", "hr", 10)]
    assert len(hit) == 1 and 0 < hit[0]["value"] <= 1 and hit[0]["n"] > 0
    assert {row["method"] for row in model["worth"]} <= {*model["methods"], "all LLMs"}
    assert [(move["kind"], move["to"]) for move in model["moves"]] == [("promote", models[0])]
    assert model["drift"]["n_new_events"] == 0 and model["rebuild"] == []
    assert "NDCG" in model["headline"]
    assert model["flow_run"] is None


def test_the_model_names_the_newest_flow_run_that_used_it(copied: Path, fuse: Artifact) -> None:
    store, newest = ArtifactStore(copied), FlowRun(id="f2", url="https://prefect.example/runs/flow-run/f2")
    for profile, flow_run in (("a", FlowRun(id="f1")), ("b", newest), ("c", None)):
        record_run(store, profile, [fuse.manifest.key], flow_run)
    with open_app(copied) as client:
        assert _get(client, "/model")["flow_run"] == newest.model_dump()


def test_the_report_of_the_model_comes_as_a_page_without_rights(client: TestClient) -> None:
    assert client.get("/model").json()["report"] is True
    answer = client.get("/report")
    assert "<html" in answer.text and answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")


def test_a_new_item_is_placed_and_not_kept(client: TestClient) -> None:
    asked = {"title": "glue stick model z heavy duty", "text": "glue stick"}
    placed = client.post("/new-item", json=asked)
    assert placed.status_code == 200, placed.text
    found = placed.json()
    assert all("glue stick" in item["title"] for item in found["nearest"][:5])
    sids = {tuple(_get(client, f"/items/i{number}")["sid"]) for number in range(N_ITEMS)}
    assert tuple(found["sid"]) not in sids, "an item of its own"
    assert found["sid"][0] in {_get(client, f"/items/{item['item_id']}")["sid"][0] for item in found["nearest"][:3]}
    assert [token["token"] for token in found["tokens"]] == found["sid"]
    assert found["for_users"], "users of glue sticks"
    assert {int(user["user_id"][1:]) % 6 for user in found["for_users"][:3]} == {1}
    assert [user["rank"] for user in found["for_users"]] == sorted(user["rank"] for user in found["for_users"])
    assert _get(client, "/items", limit=0)["total"] == N_ITEMS
    nothing = client.post("/new-item", json={"title": " "})
    assert nothing.status_code == 422 and "say nothing" in nothing.json()["detail"]


@pytest.mark.parametrize(
    ("gone", "why"), [("embed", "made without text embeddings"), ("codebooks", "there are no codebooks")]
)
def test_a_model_that_cannot_place_a_new_item_says_so(copied: Path, gone: str, why: str) -> None:
    if gone == "embed":
        shutil.rmtree(copied / "shop" / "embed")
    else:  # as of SIDs that were imported
        (manifest,) = (copied / "shop" / "sids").glob("*/manifest.json")
        written = json.loads(manifest.read_text(encoding="utf-8"))
        written["files"] = {name: file for name, file in written["files"].items() if "codebooks" not in name}
        manifest.write_text(json.dumps(written), encoding="utf-8")
        manifest.with_name("codebooks.parquet").unlink()
    with open_app(copied) as client:
        answer = client.post("/new-item", json={"title": "glue stick"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (501, "application/problem+json")
        assert why in answer.json()["detail"]
        assert client.post("/recommend", json={"history": ["i1"]}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/items/gone", 404, "item_id"),
        ("/items/", 404, "item_id"),
        ("/items/gone/similar", 404, "item_id"),
        ("/items/i1/similar?by=colour", 422, "by"),
        ("/items/i1/similar?k=1001", 422, "k"),
        ("/items?limit=-1", 422, "limit"),
        ("/items?column=colour&value=red", 422, "column"),
        ("/items?offset=1e400", 422, "offset"),
        (f"/items?query={'x' * 1001}", 422, "query"),
        ("/popular?k=0", 422, "k"),
        ("/tokens/<z_1>", 404, "token"),
        ("/tokens/<a_999999999999999999999>", 404, "token"),
        ("/tokens/glue", 422, "token"),
        ("/tokens/<a_0>?under=glue", 422, "under"),
        ("/users/nobody", 404, "user_id"),
        ("/nothing", 404, None),
        ("/page/../app.py", 404, None),
        ("/page/%2e%2e/app.py", 404, None),
        ("/recommend", 405, None),
    ],
)
def test_refusals_are_problems(client: TestClient, path: str, status: int, field: str | None) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    told = answer.json()
    assert told["status"] == status and told["detail"]
    assert [error["field"] for error in told.get("errors", [])] == ([field] if field else [])
