"""How long the live server takes to answer, and what it leaves out, when requests come at fixed times.

    python -m benchmarks.serving industrial --store artifacts --method fused --rates 1 5 10 25 50

Starts `tsrec api` on one core and asks it from another, one history of the data set's test users a request. A request
is sent when it is due, whether or not those before it were answered (an open loop), and its time counts from then:
where the server falls behind, it shows. Prints, for each rate, percentiles in milliseconds, the share of lists that had
to do without the LLM, and the mean NDCG of the answers beside that of the lists that the run made for the same users.

Then the same with nine of ten requests repeating a late one, so that the cache of lists answers them. Then, at 10 a
second, without and with a promotion in the middle; the store is copied for that by hard links, and needs a second
model: `tsrec run PROFILE --set fuse.trees=0`. Last, in this process and one history at a time, the LLM's lists by its
own decoder and by `transformers.generate` with a prefix function, as one does by hand.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import torch

from tests.decode.reference import continuations, generated
from tsrec.columns import FUSED, LLM
from tsrec.columns import Columns as C
from tsrec.recommenders.model_lookup import find_model, find_models
from tsrec.recommenders.recommender import Recommender
from tsrec.store import ArtifactStore, Lineage
from tsrec.store.champions import promote

_K = 10
_WARM = 10  # requests before any is measured


@dataclass(frozen=True)
class User:
    """A test user: their history, the item that followed, and the list that the run made (empty where it made none)."""

    history: list[str]
    target: str
    listed: list[str]


@dataclass
class Measured:
    """What came of the requests of one rate; seconds of those that were answered."""

    seconds: list[float] = field(default_factory=list)
    n_cut: int = 0
    n_failed: int = 0
    gains: list[float] = field(default_factory=list)
    gains_of_the_run: list[float] = field(default_factory=list)

    def row(self, rate: float) -> str:
        """One line of the table."""
        n = len(self.seconds) + self.n_failed
        p50, p95, p99 = (1000 * float(np.percentile(self.seconds or [np.nan], p)) for p in (50, 95, 99))
        return (
            f"{rate:6g}/s  n {n:5d}  p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f}  cut {self.n_cut / n:6.1%}  "
            f"failed {self.n_failed:3d}  NDCG@{_K} {np.mean(self.gains):.4f}, of the run's lists "
            f"{np.mean(self.gains_of_the_run):.4f}"
        )


def users_of(store: str, dataset: str, method: str) -> list[User]:
    """All test users of the champion's data, in random order."""
    lineage = Lineage(ArtifactStore(store))
    fuse = find_model(lineage, dataset)
    ingest = lineage.parent(fuse, "ingest")
    items = ingest.frame("items", [C.ITEM])[C.ITEM].to_numpy()
    events = ingest.frame("interactions").sort_values([C.USER, C.POSITION])
    histories = events.groupby(C.USER)[C.ITEM].apply(list)
    made = fuse if method == FUSED else lineage.parent(fuse, "decode" if method == LLM else "candidates")
    lists = made.frame(method)
    lists = lists[lists[C.SPLIT] == "test"]
    users = [
        User(history[: row.position], history[row.position], items[row.items[:_K]].tolist())
        for row in lists.itertuples(index=False)
        for history in [histories[row.user_id]]
    ]
    random.Random(0).shuffle(users)
    return users


@contextlib.contextmanager
def serving(dataset: str, store: str, more: list[str], core: int) -> Iterator[tuple[str, int]]:
    """A server of its own on one core: its address, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    command = [sys.executable, "-m", "flows.cli", "api", dataset, "--store", store, "--port", str(port), *more]
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command], env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.post(f"{url}/recommend", json={"history": []}).status_code == 200:
                    break
            if process.poll() is not None:
                raise SystemExit("the server ended before it answered")
            time.sleep(0.05)
        print(f"the first answer came after {time.monotonic() - started:.1f} s")
        yield url, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


async def ask_at(
    rate: float,
    seconds: float,
    url: str,
    method: str,
    users: Iterator[User],
    in_the_middle: Callable[[], object] | None = None,
) -> Measured:
    """Send `rate` requests a second, each when it is due; call `in_the_middle` in a thread at half time."""
    measured = Measured()
    limits = httpx.Limits(max_connections=512, max_keepalive_connections=512)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:

        async def ask(user: User, due: float) -> None:
            body = {"history": user.history, "k": _K, "method": method}
            answer = await client.post("/recommend", json=body)
            took = time.perf_counter() - due
            if answer.status_code != 200:
                measured.n_failed += 1
                return
            (found,) = answer.json()["answers"]
            measured.seconds.append(took)
            measured.n_cut += bool(found["left_out"])
            measured.gains.append(_gain([item["item_id"] for item in found["items"]], user.target))
            measured.gains_of_the_run.append(_gain(user.listed, user.target))

        for _ in range(_WARM):
            await ask(next(users), time.perf_counter())
        measured = Measured()
        start, asked = time.perf_counter(), list[asyncio.Task[object]]()
        for number in range(max(1, int(rate * seconds))):
            due = start + number / rate
            await asyncio.sleep(due - time.perf_counter())
            asked.append(asyncio.create_task(ask(next(users), due)))
            if in_the_middle and number == int(rate * seconds / 2):
                asked.append(asyncio.create_task(asyncio.to_thread(in_the_middle)))
        await asyncio.gather(*asked)
    return measured


def _gain(items: list[str], target: str) -> float:
    """NDCG of one list with one right item."""
    return 1 / np.log2(items.index(target) + 2) if target in items else 0.0


def endless(users: list[User], again: float) -> Iterator[User]:
    """One user after the other; with the probability `again` one of the last hundred instead."""
    moments = random.Random(1)
    recent: list[User] = []
    while True:
        for user in users:
            while recent and moments.random() < again:
                yield moments.choice(recent)
            recent = [*recent[-99:], user]
            yield user


def resident(pid: int) -> str:
    """MiB that a process has in memory, and those of them that it shares with none."""
    sizes = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text()))
    private = int(sizes["Private_Clean"]) + int(sizes["Private_Dirty"])
    return f"process {pid}: {int(sizes['Rss']) / 1024:.0f} MiB resident, {private / 1024:.0f} of them its own"


def other_model(store: str, dataset: str) -> str | None:
    """The newest model that is not the champion; None where there is none."""
    lineage = Lineage(ArtifactStore(store))
    champion = find_model(lineage, dataset).fingerprint
    others = [model.fingerprint for model in find_models(lineage, dataset) if model.fingerprint != champion]
    return others[-1] if others else None


def measure_swap(options: argparse.Namespace, more: list[str], users: Iterator[User]) -> None:
    """Ten requests a second without and with a promotion in the middle."""
    other = other_model(options.store, options.dataset)
    if other is None:
        print("the store has one model: what a promotion adds is not measured")
        return
    with tempfile.TemporaryDirectory(dir=Path(options.store).absolute().parent) as folder:
        copy = shutil.copytree(options.store, f"{folder}/store", copy_function=os.link)
        with serving(options.dataset, copy, more, options.cores[0]) as (url, _):
            for name, move in (
                ("without a promotion", None),
                ("with one", partial(promote, ArtifactStore(copy), options.dataset, other, "for a benchmark", {})),
            ):
                measured = asyncio.run(ask_at(10, options.seconds, url, options.method, users, move))
                print(f"{name:20s} {measured.row(10)}", flush=True)
            if httpx.get(f"{url}/readyz").json()["model"] != other:
                print("the promoted model was not open before the last request; give more --seconds")


def measure_generate(store: str, dataset: str, users: list[User]) -> None:
    """The median time of the LLM's list for one history, by its decoder and by `transformers.generate`."""
    from tsrec.recommenders.llm import Llm
    from tsrec.recommenders.ranking import Filter

    recommender = Recommender.open(store, dataset, LLM)
    llm = recommender.member
    assert isinstance(llm, Llm)
    allowed = continuations(llm.codes, llm.space, llm.first_sid_id)
    seconds: dict[str, list[float]] = {"own": [], "generate": []}
    n_same = 0
    for user in users:
        past = recommender.numbers(user.history)
        prompt = llm.tokens.prompt(past[-llm.config.max_history :])[None]
        begun = time.perf_counter()
        own = llm.rank([past], _K, Filter(recommender.catalogue.n_items))
        seconds["own"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        sids, _ = generated(llm.model, prompt, allowed, llm.space, llm.config.beams, _K, llm.first_sid_id)
        seconds["generate"].append(time.perf_counter() - begun)
        n_same += set(map(tuple, llm.codes[own.items[0]])) <= set(map(tuple, sids[0]))
    p50 = {name: 1000 * float(np.median(taken[1:])) for name, taken in seconds.items()}  # the first one warms up
    print(
        f"the LLM's list, {llm.config.beams} beams, {len(users) - 1} histories one at a time: p50 {p50['own']:.1f} ms, "
        f"by transformers.generate with a prefix function {p50['generate']:.1f} ms; the same first {_K} for {n_same} "
        f"of {len(users)}"
    )


def main() -> None:
    """Measure all, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--store", default="artifacts")
    parser.add_argument("--method", default=FUSED)
    parser.add_argument("--rates", type=float, nargs="+", default=[1, 5, 10, 25, 50])
    parser.add_argument("--seconds", type=float, default=20, help="how long each rate is kept up")
    parser.add_argument("--by-hand", type=int, default=30, help="histories that `generate` is given")
    parser.add_argument("--cores", type=int, nargs=2, default=[0, 1], help="of the server, and of what asks")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--deadline-ms", type=int, default=150)
    options = parser.parse_args()
    users = users_of(options.store, options.dataset, options.method)
    new, known = endless(users, 0), endless(users, 0.9)
    os.sched_setaffinity(0, {options.cores[1]})
    more = ["--workers", str(options.workers), "--deadline-ms", str(options.deadline_ms)]
    with serving(options.dataset, options.store, more, options.cores[0]) as (url, pid):
        n_asked = int(sum(max(1, rate * options.seconds) + _WARM for rate in options.rates))
        most = f" (after {len(users)} requests they come again)" if n_asked > len(users) else ""
        for asking, words in ((new, f"every history once{most}"), (known, "nine of ten histories again")):
            print(f"{options.method}, {options.workers} workers, {words}")
            for rate in options.rates:
                measured = asyncio.run(ask_at(rate, options.seconds, url, options.method, asking))
                print(measured.row(rate), flush=True)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in [pid, *map(int, children)]:
            print(resident(each))
    measure_swap(options, more, new)
    torch.set_num_threads(1)
    measure_generate(options.store, options.dataset, users[: options.by_hand + 1])


if __name__ == "__main__":
    main()
