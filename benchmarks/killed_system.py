"""What `kill_resume.py` kills: a real `tsrec serve` of the three flows on a tiny shop, and a process worker of Prefect.

Everything lies below one folder: the shop as it was and as it grew, the undisturbed runs, each disturbed run's store.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.flows.served import ROOT, Serving, free_port
from tests.tiny_shop import settings_of, write_backbone, write_shop
from tsrec.store import ArtifactStore
from tsrec.store.champions import moves_of

FLOWS = ("train", "refresh", "recommend")
START, SHARDS, JUDGE = "start", "shards", "judge"  # moments that are no stages
START_S = 12.0  # about what a flow process takes to import and begin
POOL = "kills"
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
PATIENCE_S = 600
Result = dict[str, str]


@dataclass(frozen=True)
class Undisturbed:
    """What a run leaves that nobody killed (file -> hash), the stages that it built and their seconds, in order."""

    result: Result
    paths: dict[str, str]
    seconds: dict[str, float]

    def differences(self, other: Result) -> set[str]:
        """Names of what is not the same."""
        return {name for name in self.result | other if self.result.get(name) != other.get(name)}


@dataclass(frozen=True)
class Place:
    """Where a run works: its `store`, and `out` for recommendations."""

    store: Path
    out: Path


class System:
    """The processes, and how an operator starts them again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        shop, grown, backbone = folder / "shop", folder / "grown", folder / "backbone"
        if not grown.exists():
            for made in (shop, backbone):
                made.mkdir(exist_ok=True)
            write_shop(shop)
            write_backbone(backbone)
            shutil.copytree(shop, folder / "growing", dirs_exist_ok=True)
            _grow(folder / "growing")
            (folder / "growing").rename(grown)
        profile = folder / "shop.yaml"
        profile.write_text("dataset: shop\n")
        more = ["refresh.min_targets=20", "keywords.shard_items=16", "decode.shard_users=32", "finetune.epochs=3"]
        settings = [*settings_of(shop, backbone), *more]
        self.arguments = [str(profile), *(part for setting in settings for part in ("--set", setting))]
        self.worker: subprocess.Popen[bytes] | None = None
        self.serving = self._serve()

    def __enter__(self) -> "System":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.worker:
            _kill_all([self.worker.pid])
        self.serving.end()

    def undisturbed(self, flow: str) -> Undisturbed:
        """The run of a flow that nobody kills; made once."""
        kept = self.folder / f"{flow}.json"
        if not kept.exists():
            place = self.place(flow, f"{flow}-whole")
            before = set(_artifacts(place.store))
            self.wait_until_done(self.start(flow, place))
            made = {path: seconds for path, seconds in _artifacts(place.store).items() if path not in before}
            paths = {path.split("/")[1]: path for path in made}
            seconds = {path.split("/")[1]: taken for path, taken in made.items()}
            if flow == "refresh":
                seconds[JUDGE] = 3.0
            if flow == "recommend":
                seconds = {SHARDS: 8.0}
            kept.write_text(json.dumps([self.result(flow, place), paths, seconds]))
        return Undisturbed(*json.loads(kept.read_text()))

    def place(self, flow: str, name: str) -> Place:
        """A new place of a flow; a refresh finds a trained champion there, and recommending uses that one's store."""
        trained = self.folder / "train-whole" / "store"
        place = Place(self.folder / name / "store", self.folder / name / "out")
        shutil.rmtree(self.folder / name, ignore_errors=True)
        if flow != "train":
            self.undisturbed("train")
        if flow == "refresh":
            shutil.copytree(trained, place.store)
        return Place(trained, place.out) if flow == "recommend" else place

    def clear(self, place: Place) -> None:
        """Remove what a run that is compared leaves."""
        shutil.rmtree(place.out.parent)

    def result(self, flow: str, place: Place) -> Result:
        """Hashes of all that a run leaves, and the moves of the champion."""
        if flow == "recommend":
            return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in place.out.iterdir()}
        found: Result = {}
        store = ArtifactStore(place.store)
        for artifact in store.list():
            artifact.verify()
            key = artifact.manifest.key.path
            found |= {f"{key}/{name}": entry.sha256 for name, entry in artifact.manifest.files.items()}
            found[f"{key} counts"] = json.dumps(artifact.counts, sort_keys=True)
        moves = [(move.kind, move.to, move.why) for move in moves_of(store, "shop")]
        left = [str(path.relative_to(store.root)) for path in store.leftovers()]
        return found | {"champion": json.dumps(moves), "leftovers": json.dumps(left)}

    def start(self, flow: str, place: Place, *, pooled: bool = False) -> str:
        """A run as the form makes it; `pooled`: by a process worker of Prefect."""
        name = f"{flow}/{'pooled' if pooled else 'shop'}"
        if pooled:
            self._pool(flow)
        deployment = self.serving.wait(lambda: self.serving.get(f"deployments/name/{name}"), name)
        config = deployment["parameters"]["config"] | {"store": str(place.store)}
        if flow == "refresh":
            config["ingest"] = config["ingest"] | {"path": str(self.folder / "grown")}
        parameters: dict[str, Any] = {"config": config}
        if flow == "recommend":
            parameters["wish"] = {"out": str(place.out), "shard_users": 4}
        asked = self.serving.post(f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        return str(asked["id"])

    def wait_until_building(self, run: str, whole: Undisturbed, place: Place, stage: str, share: float) -> bool:
        """True once `share` of the stage's length has gone by; False where it was done before that was noticed."""
        deadline, looked = time.monotonic() + PATIENCE_S, 0.0
        while time.monotonic() < deadline:
            if stage == START:
                begun, done = bool((self.serving.get(f"flow_runs/{run}") or {}).get("infrastructure_pid")), False
            elif stage == SHARDS:
                begun, done = bool(list(place.out.glob(".shards/*/part-*"))), (place.out / "_manifest.json").exists()
            elif stage == JUDGE:
                begun, done = (place.store / whole.paths["report"] / "manifest.json").exists(), False
            else:
                final = place.store / whole.paths[stage]
                begun, done = final.with_suffix(".partial").exists(), (final / "manifest.json").exists()
            if done:
                return False
            if begun:
                time.sleep(share * (START_S if stage == START else whole.seconds[stage]))
                return True
            if time.monotonic() - looked > 2:
                looked = time.monotonic()
                if (state := self._state(run)) == "Completed":
                    return False
                if state in ENDED:
                    self._retry(run)
            time.sleep(0.01)
        raise AssertionError(f"{stage} was not reached: {self._state(run)}\n{self.serving.logged(run)}")

    def kill(self, what: str, run: str) -> tuple[str, str]:
        """Kill it, start it again, have the run retried where it ended; the run to look at now, and its state then."""
        pid = int(str((self.serving.get(f"flow_runs/{run}") or {}).get("infrastructure_pid") or "").rpartition(":")[2])
        if what == "flow":
            _kill_all([pid])
        elif what == "server":
            os.kill(self.serving.server_pid(), signal.SIGKILL)
            self.serving.wait(lambda: self.serving.get("health"), "the new server")
            return run, str(self._state(run))
        elif what == "worker" and self.worker:
            self.worker.kill()
            self.worker.wait()
            return run, str(self._state(run))
        elif what == "worker's machine" and self.worker:
            _kill_all([pid, self.worker.pid])
            state = str(self._state(run))
            parameters = self.serving.get(f"flow_runs/{run}")
            asked = {"parameters": parameters["parameters"]}
            again = self.serving.post(f"deployments/{parameters['deployment_id']}/create_flow_run", asked)
            self._pool("")
            return str(again["id"]), f"{state}; a new run"
        else:
            machine = [pid, self.serving.server_pid()] if what == "machine" else []
            _kill_all([*machine, self.serving.process.pid], children=False)
            self.serving.process.wait()
            self.serving.wait(lambda: not psutil.pid_exists(pid), "the end of the run's process", 30)
            self.serving = self._serve()
        state = self.serving.wait_state(run, *ENDED, patience_s=90)["state_name"]
        self._retry(run)
        return run, str(state)

    def wait_until_done(self, run: str) -> None:
        """Until it is Completed, after a retry where it ended otherwise."""
        for _ in range(3):
            if self.serving.wait_state(run, *ENDED, patience_s=PATIENCE_S)["state_name"] == "Completed":
                return
            print(self.serving.logged(run)[-1500:], file=sys.stderr)
            self._retry(run)
        raise AssertionError(f"never completed: {self.serving.logged(run)}")

    def _serve(self) -> Serving:
        return Serving(self.folder, self.port, self.arguments).started()

    def _state(self, run: str) -> str | None:
        found = self.serving.get(f"flow_runs/{run}")
        return str(found["state_name"]) if found else None

    def _retry(self, run: str) -> None:
        if self._state(run) != "Completed":
            state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
            self.serving.post(f"flow_runs/{run}/set_state", {"state": state, "force": True})

    def _pool(self, flow: str) -> None:
        """Have a worker, and the deployment of a flow that it runs."""
        if self.worker is None or self.worker.poll() is not None:
            home = {"PREFECT_HOME": str(self.folder / "home"), "PREFECT_API_URL": f"{self.serving.url}/api"}
            more = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PREFECT_WORKER_QUERY_SECONDS": "1"}
            with (self.folder / "worker.log").open("ab") as log:
                self.worker = subprocess.Popen(
                    [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"],
                    cwd=ROOT,
                    env=os.environ | home | more,
                    stdout=log,
                    stderr=log,
                )
        self.serving.wait(lambda: self.serving.get(f"work_pools/{POOL}"), "the work pool")
        if flow and self.serving.get(f"deployments/name/{flow}/pooled") is None:
            served = self.serving.get(f"deployments/name/{flow}/shop")
            kept = ("flow_id", "parameters", "parameter_openapi_schema", "path")
            entrypoint = served["entrypoint"]
            made = {name: served[name] for name in kept} | {"path": str(ROOT), "entrypoint": entrypoint}
            self.serving.post("deployments/", made | {"name": "pooled", "work_pool_name": POOL})


def _artifacts(store: Path) -> dict[str, float]:
    """Path of each finished artifact -> the seconds that it took, in order of building."""
    return {a.manifest.key.path: a.manifest.seconds for a in ArtifactStore(store).list()} if store.exists() else {}


def _kill_all(pids: list[int], *, children: bool = True) -> None:
    """SIGKILL to processes, and to what they started, at once."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found += [process, *(process.children(recursive=True) if children else [])]
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _grow(folder: Path) -> None:
    """A week later: two new items, and an event more of most users."""
    with (folder / "items.jsonl").open("a", encoding="utf-8") as stream:
        for item in ("n0", "n1"):
            row = {"item_id": item, "title": f"glue stick {item} extra strong", "description": "glue stick"}
            stream.write(json.dumps(row) + "\n")
    with (folder / "interactions.csv").open("a", encoding="utf-8") as stream:
        for user in range(50):
            item = f"n{user % 2}" if user % 6 == 1 else f"i{user % 6 + 6 * (user % 8)}"
            stream.write(f"u{user},{item},100\n")
