"""`tsrec api` on a real socket: it does what its page says, refuses at once what cannot be, and ends in time."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from flows import cli
from tests.flows.served import free_port
from tests.serving.live_app import wait_until_ready

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
DEADLINE_S = 0.15  # the command's default
IN_THE_SHOP = {'"50"': '"i1"', '"181"': '"i7"', '"196"': '"u1"', "/50": "/i1", "/196": "/u1", "=50": "=i1"}
IN_THE_SHOP |= {"star+wars": "glue", "Star Wars: The Last Hope": "glue stick model z", '"ml-100k"': '"shop"'}


class Served:
    """A running `tsrec api`; what it logs lies in `log`."""

    def __init__(self, folder: Path, store: Path, *more: str) -> None:
        self.port, self.log = free_port(), folder / f"api-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "flows.cli", "api", "shop", "--store", str(store), "--port", str(self.port)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *more], env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        end = time.monotonic() + 120
        while " the page is " not in self.logged:
            assert self.process.poll() is None and time.monotonic() < end, self.logged
            time.sleep(0.1)
        httpx.get(f"{self.url}/healthz", timeout=30).raise_for_status()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def seconds_to_end(self) -> float:
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - started


@contextmanager
def _serve(folder: Path, store: Path, *more: str) -> Iterator[Served]:
    served = Served(folder, store, *more)
    try:
        yield served
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(served.process.pid, signal.SIGKILL)
        served.process.wait()


@pytest.fixture(scope="module")
def served(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with _serve(tmp_path_factory.mktemp("api"), store) as served:
        yield served


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def _in_the_shop(text: str, served: Served) -> str:
    for written, meant in IN_THE_SHOP.items():
        text = text.replace(written, meant)
    return text.replace("http://127.0.0.1:8000", served.url)


def _curl_lines() -> list[str]:
    lines = [
        line for block in _blocks("bash") for line in re.findall(r"^curl (?:[^'\n]|'[^']*')+$", block, re.MULTILINE)
    ]
    assert len(lines) == PAGE.count("\ncurl ") > 10
    return lines


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", _curl_lines(), ids=range(len(_curl_lines())))
def test_the_lines_of_the_page_do_what_it_says(served: Served, line: str, tmp_path: Path) -> None:
    shown = subprocess.run(
        _in_the_shop(line, served).replace("curl ", "curl --silent --show-error --fail-with-body ", 1),
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    if line.endswith(("healthz", "metrics", "report.html")):
        assert shown.stdout or (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    else:
        assert json.loads(shown.stdout)


@pytest.mark.slow
def test_the_python_lines_of_the_page_work(served: Served, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asking, mounting = _blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", _in_the_shop(asking, served)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["1", "2", "3"]
    names: dict[str, FastAPI] = {}
    exec(_in_the_shop(mounting, served).replace('"artifacts"', repr(str(store))), names)
    with TestClient(names["app"], base_url="http://shop.example/recommender") as client:
        wait_until_ready(client)
        assert client.get("/items/i1").status_code == 200


@pytest.mark.slow
def test_the_json_of_the_page_has_the_fields_that_are_given(served: Served) -> None:
    answer, refusal = (json.loads(block.replace("...", "")) for block in _blocks("json"))
    given = httpx.post(f"{served.url}/recommend", json={"history": ["i1"]}).json()
    assert answer.keys() == given.keys()
    (shown,), (mine,) = answer["answers"], given["answers"]
    assert shown.keys() == mine.keys() and shown["items"][0].keys() == mine["items"][0].keys()
    assert httpx.post(f"{served.url}/recommend", json={"k": 1001}).json() == refusal


@pytest.mark.slow
def test_one_line_says_where_and_what(served: Served, models: tuple[str, str]) -> None:
    (line,) = [line for line in served.logged.splitlines() if " the page is " in line]
    assert f"{served.url} serves shop by model {models[0]} and answers this machine alone" in line
    assert f"{served.url}/docs" in line
    answer = httpx.get(served.url)
    assert answer.status_code == 200 and "server" not in answer.headers


@pytest.mark.slow
def test_it_ends_in_time_whoever_is_connected(store: Path, tmp_path: Path) -> None:
    with _serve(tmp_path, store) as served, httpx.Client(base_url=served.url) as idle:
        assert idle.get("/healthz").status_code == 200
        with socket.create_connection(("127.0.0.1", served.port)) as slow:
            head = "POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            slow.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())  # and never the rest
            time.sleep(0.3)
            assert served.seconds_to_end() < DEADLINE_S + 1 + 10  # ten more for a busy machine; the request never ends
        assert served.process.returncode in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_workers_share_an_address_their_numbers_and_their_end(store: Path, tmp_path: Path) -> None:
    with _serve(tmp_path, store, "--workers", "2") as served:
        for _ in range(40):  # a connection each: the kernel gives them to either
            assert httpx.get(f"{served.url}/popular").status_code == 200
        text = httpx.get(f"{served.url}/metrics").text
        assert 'tsrec_requests_total{method="GET",route="/popular",status="200"} 40.0' in text
        assert httpx.post(f"{served.url}/recommend", json={"history": ["i1"]}).status_code == 200
        assert served.seconds_to_end() < DEADLINE_S + 1 + 10
        with pytest.raises(httpx.ConnectError):
            httpx.get(served.url)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shop", "--host", "0.0.0.0"], "set TSREC_API_KEYS=KEY"),
        (["books"], "no finished recommender of 'books'"),
        (["shop", "--model", "ffff"], "no model of shop start with 'ffff'"),
        (["shop", "--set", "dataset=books"], "--set changes a profile"),
        (["missing.yaml"], "no such profile"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    store: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["api", *words, "--store", str(store), "--port", str(free_port())]) == 1
    assert said in capsys.readouterr().err


def test_a_store_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["api", "shop", "--store", str(tmp_path / "nowhere")]) == 1
    assert "no such store; --store says where" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.main(["api", "shop", "--store", str(store), "--port", str(taken.getsockname()[1])]) == 1
    assert "nothing can listen there" in capsys.readouterr().err
