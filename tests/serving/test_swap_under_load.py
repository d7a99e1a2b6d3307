"""The champion changes while clients ask without a pause: nobody is refused, and no answer is of two models."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.live_app import at_an_address
from tsrec.recommenders.recommender import Recommender
from tsrec.store import ArtifactStore
from tsrec.store.champions import promote

N_PROMOTIONS = 5
N_CLIENTS = 4
N_ITEMS = 48  # of the shop
PATIENCE_S = 120
REQUESTS = [{"history": [f"i{n}", f"i{n + 6}"]} for n in range(40)]
REQUESTS += [{"history": [f"i{n}"], "method": "tsrec"} for n in range(8)]

Scores = dict[str, float | None]


@pytest.mark.slow
def test_five_promotions_while_clients_ask_without_a_pause(copied: Path, models: tuple[str, str]) -> None:
    answers: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    async def ask(client: httpx.AsyncClient, place: int, served: asyncio.Event) -> None:
        while not served.is_set():
            pair = [REQUESTS[(place + step) % len(REQUESTS)] for step in (0, 7)]
            answer = await client.post("/recommend", json={"requests": pair})
            assert answer.status_code == 200, answer.text
            found = answer.json()
            answers.extend((found["model"], *each) for each in zip(pair, found["answers"], strict=True))
            place += 1

    async def move(client: httpx.AsyncClient, served: asyncio.Event) -> None:
        for number in range(1, N_PROMOTIONS + 1):
            promote(ArtifactStore(copied), "shop", models[number % 2], "for a test", {})
            while (await client.get("/readyz")).json()["model"] != models[number % 2]:
                await asyncio.sleep(0.05)
        served.set()

    async def crowd(url: str) -> None:
        served = asyncio.Event()
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
            clients = (ask(client, 11 * number, served) for number in range(N_CLIENTS))
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(move(client, served), *clients)

    with at_an_address(copied, deadline_ms=2_000) as url:
        asyncio.run(crowd(url))
    whole = [(model, request, answer) for model, request, answer in answers if not answer["left_out"]]
    assert {model for model, _, _ in whole} == set(models)
    expected: dict[tuple[str, str], list[Scores]] = {}
    for model, method in {(model, request.get("method", "fused")) for model, request, _ in whole}:
        recommender = Recommender.open(copied, "shop", method, model)
        lists = recommender.recommend([request["history"] for request in REQUESTS], N_ITEMS)
        expected[model, method] = [{item.item_id: item.score for item in items} for items in lists]
    for model, request, answer in whole:
        scores = expected[model, answer["method"]][REQUESTS.index(request)]
        shown = answer["items"]
        assert [item["score"] for item in shown] == pytest.approx(list(scores.values())[:10], abs=1e-3)
        for item in shown:  # of two with the same score, either may come first
            assert item["score"] == pytest.approx(scores[item["item_id"]], abs=1e-3)
