"""Several processes on one address: they answer alike, follow the champion, share memory, and end together."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tsrec.recommenders.recommender import Recommender
from tsrec.store import ArtifactStore
from tsrec.store.champions import promote

_SERVER = """
import json, os, sys
import uvicorn
from tsrec.serving.engine import Engine, Wish
from tsrec.serving.workers import run_workers

engine = Engine(sys.argv[1], "shop", deadline_ms=60_000)

async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        if (await receive())["type"] == "lifespan.startup":
            engine.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            engine.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
    (answer,) = await engine.recommend([Wish(("i1", "i7"), k=5)])
    said = json.dumps([os.getpid(), answer.model, [item.item_id for item in answer.items]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": said})

run_workers(uvicorn.Config(app, port=int(sys.argv[2]), log_level="warning"), engine.open, 2)
"""


class Server:
    def __init__(self, store: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-c", _SERVER, str(store), str(self.port)]
        self.process = subprocess.Popen(command, start_new_session=True)

    def ask(self) -> tuple[int, str, list[str]]:
        """Who answers (a process), by which model, and what."""
        with urlopen(f"http://127.0.0.1:{self.port}", timeout=60) as answer:
            pid, model, items = json.load(answer)
            return pid, model, items

    def workers(self) -> set[int]:
        return {self.ask()[0] for _ in range(20)}

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask())
        return False


@pytest.fixture
def server(copied: Path) -> Iterator[Server]:
    server = Server(copied)
    wait_for(server.answers, 120)
    yield server
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def wait_for(what: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "not within the time that is allowed"
        time.sleep(0.1)


def private_and_resident(pid: int) -> tuple[int, int]:
    """KiB that a process shares with no other, and all that it has in memory."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = {name: int(size) for name, size in re.findall(r"(\w+):\s+(\d+) kB", told)}
    return sizes["Private_Clean"] + sizes["Private_Dirty"], sizes["Rss"]


@pytest.mark.slow
def test_two_workers_answer_alike_follow_the_champion_and_end_together(
    server: Server, copied: Path, models: tuple[str, str]
) -> None:
    wait_for(lambda: len(server.workers()) == 2, 30)
    for model in (models[0], models[1]):
        promote(ArtifactStore(copied), "shop", model, "for a test", {})
        wait_for(lambda model=model: {server.ask()[1] for _ in range(20)} == {model}, 20)
        (expected,) = Recommender.open(copied, "shop").recommend([["i1", "i7"]], 5)
        items = [item.item_id for item in expected]
        assert all(server.ask()[1:] == (model, items) for _ in range(10))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    with pytest.raises(OSError):
        server.ask()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_none_outlives_the_first_process(server: Server) -> None:
    wait_for(lambda: len(server.workers()) == 2, 30)
    killed = min(server.workers())
    os.kill(killed, signal.SIGKILL)
    assert server.workers(), "the other answers meanwhile"
    wait_for(lambda: len(server.workers()) == 2, 30)
    workers = server.workers()
    assert killed not in workers
    server.process.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 20)


@pytest.mark.slow
def test_a_worker_adds_less_than_a_fifth_of_what_it_has_in_memory(server: Server) -> None:
    wait_for(lambda: len(server.workers()) == 2, 30)
    for pid in server.workers():
        private, resident = private_and_resident(pid)
        assert private < 0.2 * resident
