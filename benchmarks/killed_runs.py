"""Runs that `kill_resume.py` kills, on a tiny shop, and what they leave: `Forked` has each in a process of its own.

Everything lies below one folder: the shop as it was and as it grew, the undisturbed runs, each disturbed run's store.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType

from tests.tiny_shop import settings_of, write_backbone, write_shop
from tsrec import pipeline, refresh
from tsrec.config import BatchRequest, load_config
from tsrec.recommenders.batch import recommend_users
from tsrec.store import ArtifactStore
from tsrec.store.champions import moves_of

FLOWS = ("train", "refresh", "recommend")
START, SHARDS, JUDGE = "start", "shards", "judge"  # moments that are no stages
NOT_KILLED = "had ended"
PATIENCE_S = 900
Result = dict[str, str]

# Children of one server that has imported what they need, so that each starts at once.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["benchmarks.killed_runs"])


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


class Killed(ABC):
    """Runs that are killed and repeated; how they run, and what of them can be killed, is each subclass's own."""

    kinds: tuple[str, ...] = ()
    start_s = 1.0  # about what a run takes before its first stage

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shop, grown, backbone = folder / "shop", folder / "grown", folder / "backbone"
        if not grown.exists():
            for made in (shop, backbone):
                made.mkdir(exist_ok=True)
            write_shop(shop)
            write_backbone(backbone)
            shutil.copytree(shop, folder / "growing", dirs_exist_ok=True)
            _grow(folder / "growing")
            (folder / "growing").rename(grown)
        more = ["refresh.min_targets=20", "keywords.shard_items=16", "decode.shard_users=32", "finetune.epochs=3"]
        self.settings = [*settings_of(shop, backbone), *more]

    def __enter__(self) -> "Killed":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    @abstractmethod
    def start(self, flow: str, place: Place) -> str:
        """Start a run; what `kill` and the others know it by."""

    @abstractmethod
    def has_ended(self, run: str) -> bool:
        """Whether it is done; one that failed is started again."""

    @abstractmethod
    def has_begun(self, run: str) -> bool:
        """Whether it has a process."""

    @abstractmethod
    def kill(self, what: str, run: str) -> tuple[str, str]:
        """Kill it, and start it again; the run to look at now, and what was seen of the other's state."""

    @abstractmethod
    def end(self) -> None:
        """End all processes."""

    def undisturbed(self, flow: str) -> Undisturbed:
        """The run of a flow that nobody kills; made once."""
        kept = self.folder / f"{flow}.json"
        if not kept.exists():
            place = self.place(flow, f"{flow}-whole")
            before, began = set(_artifacts(place.store)), time.monotonic()
            self.wait_until_done(self.start(flow, place))
            took = time.monotonic() - began
            made = {path: taken for path, taken in _artifacts(place.store).items() if path not in before}
            paths = {path.split("/")[1]: path for path in made}
            seconds = {path.split("/")[1]: taken for path, taken in made.items()}
            if flow == "refresh":
                seconds[JUDGE] = max(0.5, (took - sum(seconds.values())) / 2)
            if flow == "recommend":
                seconds = {SHARDS: took / 2}
            kept.write_text(json.dumps([self.result(flow, place), paths, seconds]))
        return Undisturbed(*json.loads(kept.read_text()))

    def place(self, flow: str, name: str) -> Place:
        """A new place of a flow; a refresh finds a trained champion there, and recommending uses that one's store."""
        trained = self.folder / "train-whole" / "store"
        place = Place(self.folder / name / "store", self.folder / name / "out")
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()
        if flow != "train":
            self.undisturbed("train")
        if flow == "refresh":
            shutil.copytree(trained, place.store)
        return Place(trained, place.out) if flow == "recommend" else place

    def clear(self, place: Place) -> None:
        """Remove what a run that is compared leaves."""
        shutil.rmtree(place.out.parent)

    def result(self, flow: str, place: Place) -> Result:
        """Hashes of all that a run leaves, what its stages counted, and the moves of the champion."""
        if flow == "recommend":
            return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in place.out.glob("[!.]*")}
        found: Result = {}
        store = ArtifactStore(place.store)
        for artifact in store.list():
            artifact.verify()
            key = artifact.manifest.key.path
            found |= {f"{key}/{name}": entry.sha256 for name, entry in artifact.manifest.files.items()}
            found[f"{key} counts"] = json.dumps(artifact.counts, sort_keys=True)
            if artifact.has("training_log"):  # how fast it went is another figure every time
                steps = artifact.frame("training_log").drop(columns="tokens_per_s").to_csv()
                found[f"{key}/training_log.parquet"] = hashlib.sha256(steps.encode()).hexdigest()
            if artifact.has("report.html"):  # it shows that, and how long each stage took
                del found[f"{key}/report.html"], found[f"{key} counts"]
        moves = [(move.kind, move.to, move.why) for move in moves_of(store, "shop")]
        left = [str(path.relative_to(store.root)) for path in store.leftovers()]
        return found | {"champion": json.dumps(moves), "leftovers": json.dumps(left)}

    def wait_until_building(self, run: str, whole: Undisturbed, place: Place, stage: str, share: float) -> bool:
        """True once `share` of the stage's length has gone by; False where it was done before that was noticed."""
        deadline, looked = time.monotonic() + PATIENCE_S, 0.0
        while time.monotonic() < deadline:
            done = False
            if stage == START:
                begun = self.has_begun(run)
            elif stage == SHARDS:
                begun, done = any(place.out.glob(".shards/*/part-*")), (place.out / "_manifest.json").exists()
            elif stage == JUDGE:
                begun = (place.store / whole.paths["report"] / "manifest.json").exists()
            else:
                final = place.store / whole.paths[stage]
                begun, done = final.with_suffix(".partial").exists(), (final / "manifest.json").exists()
            if begun and not done:
                length = min(self.start_s, sum(whole.seconds.values())) if stage == START else whole.seconds[stage]
                time.sleep(share * length)  # the shortest run is over before others have begun
                return True
            if done or (time.monotonic() - looked > 2 and self.has_ended(run)):
                return False
            looked = time.monotonic() if time.monotonic() - looked > 2 else looked
            time.sleep(0.005)
        raise AssertionError(f"{stage} was not reached within {PATIENCE_S} s")

    def wait_until_done(self, run: str) -> None:
        """Until it has ended as it should."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.has_ended(run):
            assert time.monotonic() < deadline, f"not done within {PATIENCE_S} s"
            time.sleep(0.2)


class Forked(Killed):
    """Each run is a process that calls the library, without Prefect: quick to start again."""

    kinds = ("process",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._runs: dict[str, tuple[BaseProcess, str, Place]] = {}

    def start(self, flow: str, place: Place) -> str:
        """Start a process."""
        arguments = (flow, self.settings, str(place.store), str(place.out), str(self.folder))
        process = _PROCESSES.Process(target=_run, args=arguments)
        process.start()
        self._runs[name := str(process.pid)] = (process, flow, place)
        return name

    def has_begun(self, run: str) -> bool:
        """Always."""
        return True

    def has_ended(self, run: str) -> bool:
        """Whether its process has; a status other than 0 is an error."""
        process = self._runs[run][0]
        if process.exitcode is None:
            return False
        assert process.exitcode == 0, f"a run ended with {process.exitcode}: see {self.folder / 'runs.log'}"
        return True

    def kill(self, what: str, run: str) -> tuple[str, str]:
        """SIGKILL, and another process at once."""
        process, flow, place = self._runs[run]
        process.kill()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            return run, NOT_KILLED
        return self.start(flow, place), "killed"

    def end(self) -> None:
        """Kill what still runs."""
        for process, _, _ in self._runs.values():
            process.kill()


def _run(flow: str, settings: list[str], store: str, out: str, folder: str) -> None:
    """What a forked process does."""
    log = os.open(f"{folder}/runs.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    grown = [f"ingest.path={folder}/grown"] if flow == "refresh" else []
    config = load_config(None, [*settings, f"store={store}", *grown])
    if flow == "train":
        pipeline.run(config)
    elif flow == "refresh":
        refresh.run(config)
    else:
        recommend_users(*pipeline.resolve_model(config), BatchRequest(out=out, shard_users=4))


def _artifacts(store: Path) -> dict[str, float]:
    """Path of each finished artifact -> the seconds that it took, in order of building."""
    return {a.manifest.key.path: a.manifest.seconds for a in ArtifactStore(store).list()} if store.exists() else {}


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
