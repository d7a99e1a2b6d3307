"""The champion changes while somebody asks without a pause: nobody is refused, and no answer is of two models."""

import asyncio
import threading
from pathlib import Path

import pytest

from tsrec.recommenders.recommender import Recommender
from tsrec.serving.engine import Answer, Engine, Wish
from tsrec.store import ArtifactStore
from tsrec.store.champions import promote

N_PROMOTIONS = 5
WISHES = [Wish((f"i{n}", f"i{n + 6}"), 10, "fused") for n in range(40)] + [
    Wish((f"i{n}",), 5, "tsrec") for n in range(8)
]


@pytest.mark.slow
def test_five_promotions_while_somebody_asks_without_a_pause(copied: Path, models: tuple[str, str]) -> None:
    engine = Engine(copied, "shop", deadline_ms=2_000)
    engine.start()
    answers: list[tuple[Wish, Answer]] = []
    served = threading.Event()

    def move() -> None:
        for number in range(1, N_PROMOTIONS + 1):
            promote(ArtifactStore(copied), "shop", models[number % 2], "for a test", {})
            while engine.live.fingerprint != models[number % 2]:
                served.wait(0.05)
        served.set()

    async def ask(start: int) -> None:
        place = start
        while not served.is_set():
            wishes = [WISHES[place % len(WISHES)], WISHES[(place + 7) % len(WISHES)]]
            found = await engine.recommend(wishes)
            assert len({answer.model for answer in found}) == 1
            answers.extend(zip(wishes, found, strict=True))
            place += 1

    async def crowd() -> None:
        await asyncio.gather(*(ask(11 * start) for start in range(4)))

    mover = threading.Thread(target=move)
    mover.start()
    asyncio.run(asyncio.wait_for(crowd(), 120))
    mover.join()
    engine.stop()
    assert {answer.model for _, answer in answers} == set(models)
    opened = {(m, w.method): Recommender.open(copied, "shop", w.method, m) for m in models for w in WISHES}
    expected = {
        (model, wish): opened[model, wish.method].recommend([wish.history], wish.k)[0]
        for model in models
        for wish in WISHES
    }
    for wish, answer in answers:
        if not answer.left_out:
            scores = [item.score for item in expected[answer.model, wish]]
            assert [item.score for item in answer.items] == pytest.approx(scores, abs=1e-3)
