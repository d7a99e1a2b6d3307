"""`POST /recommend` gives the lists that the recommender makes, and takes whatever a shop may send."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serving.live_app import open_app
from tsrec.recommenders.explain import Explainer
from tsrec.recommenders.model_lookup import find_model
from tsrec.recommenders.recommender import Recommender
from tsrec.serving.schemas import MAX_K, MAX_REQUESTS
from tsrec.store import ArtifactStore, Lineage

HISTORY = ["i1", "i7", "i13"]
N_ITEMS = 48  # of the shop
PATIENT_MS = 60_000  # whatever else the machine does, no member is cut


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[TestClient]:
    with open_app(store, deadline_ms=PATIENT_MS) as client:
        yield client


def _ask(client: TestClient, **request: Any) -> dict[str, Any]:
    answer = client.post("/recommend", json=request)
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["answers"]
    return found


@pytest.mark.parametrize("method", ["fused", "tsrec", "item-knn", "popular"])
def test_lists_are_those_of_the_recommender(client: TestClient, store: Path, method: str) -> None:
    (wanted,) = Recommender.open(store, "shop", method).recommend([HISTORY], 10)
    found = _ask(client, history=HISTORY, method=method)
    assert found["method"] == method
    assert found["unknown"] == found["left_out"] == []
    assert [item["rank"] for item in found["items"]] == list(range(1, 11))
    assert [item["score"] for item in found["items"]] == pytest.approx([item.score for item in wanted], abs=1e-4)
    assert {item["item_id"] for item in found["items"]} == {item.item_id for item in wanted}
    assert all(item["title"] and item["reason"] is None for item in found["items"])
    assert all(bool(item["proposed_by"]) == (item["score"] is not None) for item in found["items"])


def test_the_answer_names_the_model(client: TestClient, models: tuple[str, str]) -> None:
    assert client.post("/recommend", json={}).json()["model"] == models[0]


def test_a_users_events_stand_before_the_history(client: TestClient, store: Path) -> None:
    store_ = ArtifactStore(store)
    past = Explainer(Lineage(store_), find_model(Lineage(store_), "shop")).history_of("u7")
    found = _ask(client, user_id="u7", history=["i40"], no_repeats=True, k=N_ITEMS)
    assert found["items"] == _ask(client, history=[*past, "i40"], no_repeats=True, k=N_ITEMS)["items"]
    assert not {item["item_id"] for item in found["items"]} & {*past, "i40"}
    assert not found["unknown_user"]


def test_nobody_knows_them_and_they_get_what_is_popular(client: TestClient) -> None:
    popular = [item["item_id"] for item in client.get("/popular").json()["items"]]
    for request in ({}, {"user_id": "nobody"}, {"history": ["gone", "\x00", "é"]}):
        found = _ask(client, **request)
        assert [item["item_id"] for item in found["items"]] == popular
        assert found["unknown"] == request.get("history", [])
        assert found["unknown_user"] == ("user_id" in request)


def test_what_may_be_shown(client: TestClient) -> None:
    all_but_ten = [f"i{number}" for number in range(N_ITEMS - 10)]
    for request, shown in (
        ({"allow": ["i3", "i9", "gone"]}, {"i3", "i9"}),
        ({"allow": []}, set()),
        ({"allow": all_but_ten, "k": N_ITEMS}, set(all_but_ten)),
        ({"deny": all_but_ten}, {f"i{number}" for number in range(N_ITEMS - 10, N_ITEMS)}),
        ({"allow": ["i3", "i9"], "deny": ["i9"]}, {"i3"}),
    ):
        assert {item["item_id"] for item in _ask(client, history=HISTORY, **request)["items"]} == shown


def test_what_the_columns_must_hold(client: TestClient) -> None:
    glue = {f"i{number}" for number in range(1, N_ITEMS, 6)}
    for request, shown in (
        ({"where": {"description": "glue stick"}}, glue),
        ({"where": {"description": "glue stick"}, "allow": ["i1", "i2"]}, {"i1"}),
        ({"where": {"description": "glue stick"}, "deny": ["i1"]}, glue - {"i1"}),
        ({"where": {"description": "no such thing"}}, set()),
    ):
        assert {item["item_id"] for item in _ask(client, history=HISTORY, **request)["items"]} == shown


def test_long_histories_and_lists_of_ids_are_answered(client: TestClient) -> None:
    found = _ask(client, history=HISTORY * 3_400, allow=[f"i{number % 60}" for number in range(1000)], k=5)
    assert len(found["items"]) == 5
    assert len(_ask(client, history=HISTORY, k=MAX_K)["items"]) == N_ITEMS


def test_reasons_are_given_where_they_are_asked_for(client: TestClient) -> None:
    assert all(item["reason"] for item in _ask(client, history=HISTORY, explain=True)["items"])


def test_several_requests_in_one_body(client: TestClient) -> None:
    requests = [{"history": [f"i{number}"], "k": 1 + number % 3} for number in range(MAX_REQUESTS)]
    answer = client.post("/recommend", json={"requests": requests}).json()
    assert [len(found["items"]) for found in answer["answers"]] == [request["k"] for request in requests]
    alone = _ask(client, **requests[2])["items"]
    assert [item["item_id"] for item in answer["answers"][2]["items"]] == [item["item_id"] for item in alone]


def test_ids_may_be_written_as_numbers(client: TestClient) -> None:
    assert _ask(client, history=[50, 181])["unknown"] == ["50", "181"]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"k": MAX_K + 1}, "k", "less than or equal to 1000"),
        ({"k": 0}, "k", "greater than or equal to 1"),
        ({"k": "ten"}, "k", "valid integer"),
        ({"k": None}, "k", "valid integer"),
        ({"history": "i1"}, "history", "valid list"),
        ({"history": ["i1", None]}, "history.1", "valid string"),
        ({"history": [["i1"]]}, "history.0", "valid string"),
        ({"histroy": ["i1"]}, "histroy", "is not known here"),
        ({"method": "bpr"}, "method", "there are fused, "),
        ({"allow": "all"}, "allow", "valid list"),
        ({"where": {"colour": "red"}}, "where", "there is no column 'colour'; there are description, "),
        ({"where": "red"}, "where", "valid dictionary"),
        ({"user_id": ["u1"]}, "user_id", "valid string"),
        ({"explain": "perhaps"}, "explain", "valid boolean"),
        ({"requests": []}, "requests", "at least 1 item"),
        ({"requests": [{}] * (MAX_REQUESTS + 1)}, "requests", "at most 100 items"),
        ({"requests": [{}, {"k": -1}]}, "requests.1.k", "greater than or equal to 1"),
        ({"requests": [{}, {"method": "x"}]}, "requests.1.method", "no such method"),
        ({"requests": [{}], "k": 3}, "k", "is not known here"),
        ([], "body", "valid dictionary"),
        (7, "body", "valid dictionary"),
    ],
)
def test_a_refusal_names_the_field(client: TestClient, body: Any, field: str, words: str) -> None:
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert (told["type"], told["title"], told["status"]) == ("about:blank", "Unprocessable Entity", 422)
    assert told["errors"][0]["field"] == field
    assert words in told["errors"][0]["problem"] and words in told["detail"]
