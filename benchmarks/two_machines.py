"""A Dask cluster of two machines with a shared store in S3: the same bytes as one process, whichever of them dies.

    sudo .venv/bin/python -m benchmarks.two_machines FOLDER

The machines are network namespaces of Linux, joined by a virtual cable, each with a home of its own. They share no
folder but the data and the code: what one knows of the other's work came through S3, which moto serves on the first
machine. Making namespaces needs root. Without root, or with --no-namespaces, they are processes with homes of their
own on one network.

Three trials, each with a bucket of its own, train on a tiny shop in tiny shards, and write lists for users:
- undisturbed;
- the second machine is killed while it makes shards of `decode`, and does not come back;
- the first machine's flow is killed while workers make shards of `decode`, and the second machine resumes it.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.flows.served import ROOT, free_port
from tests.tiny_shop import settings_of, write_backbone, write_shop

PROGRAM = ROOT / "tests" / "flows" / "dask_run.py"
SCRIPTS = Path(sys.executable).parent
TIMED = ("training_log.parquet", "report.html")  # how fast it went is another figure every time
PATIENCE_S = 900
SHARED = ("keywords", "embed", "candidates", "decode", "fuse", "recommend")
_NETWORK = "10.77.0"
_LIST = """
import json, sys
from tsrec.store import ArtifactStore
found = {}
for artifact in ArtifactStore(sys.argv[1]).list():
    for name, entry in artifact.manifest.files.items():
        found[f"{artifact.manifest.key.path}/{name}"] = entry.sha256
print(json.dumps(found))
"""


@dataclass
class Machine:
    """Processes with a home of their own; in the network namespace `namespace`, where it has one."""

    home: Path
    address: str
    namespace: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, name: str, arguments: list[object], **environment: str) -> "subprocess.Popen[bytes]":
        """A process in a session of its own; what it prints lies in `NAME.log` in the machine's home."""
        inherited = {n: value for n, value in os.environ.items() if not n.startswith(("PREFECT_", "AWS_", "TSREC_"))}
        own = {"HOME": str(self.home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [*(("ip", "netns", "exec", self.namespace) if self.namespace else ()), *map(str, arguments)]
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                env=inherited | own | self.environment | environment,
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def log(self, name: str) -> Path:
        """What a process printed."""
        return self.home / f"{name}.log"

    def printed(self, name: str) -> str:
        """The same as a text."""
        return self.log(name).read_text(errors="replace") if self.log(name).exists() else ""

    def kill(self) -> None:
        """All that runs on it, by SIGKILL."""
        for process in self.processes:
            kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """A process that has not ended, and those that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def two_machines(folder: Path, *, namespaces: bool) -> Iterator[tuple[Machine, Machine]]:
    """The machines, joined by a network; all that runs on them is killed at the end."""
    machines = []
    for number in (1, 2):
        home = folder / f"machine{number}"
        home.mkdir(parents=True)
        namespace = f"tsrec-{os.getpid()}-{number}" if namespaces else ""
        machines.append(Machine(home, f"{_NETWORK}.{number}" if namespaces else "127.0.0.1", namespace))
    first, second = machines
    try:
        if namespaces:
            for machine in machines:
                _ip("netns", "add", machine.namespace)
            _ip(
                "link",
                "add",
                "cable",
                "netns",
                first.namespace,
                "type",
                "veth",
                "peer",
                "cable",
                "netns",
                second.namespace,
            )
            for machine in machines:
                _ip("-n", machine.namespace, "addr", "add", f"{machine.address}/24", "dev", "cable")
                for device in ("cable", "lo"):
                    _ip("-n", machine.namespace, "link", "set", device, "up")
        yield first, second
    finally:
        for machine in machines:
            machine.kill()
            if machine.namespace:
                subprocess.run(["ip", "netns", "del", machine.namespace], check=False)


def may_make_namespaces() -> bool:
    """Whether this process may."""
    if os.geteuid() or not shutil.which("ip"):
        return False
    name = f"tsrec-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode == 0
    if made:
        _ip("netns", "del", name)
    return made


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Cluster:
    """A scheduler, S3 and a worker on the first machine, a worker on the second."""

    def __init__(self, first: Machine, second: Machine) -> None:
        self.first, self.second = first, second
        ports = [free_port(), free_port()]
        self.scheduler, s3 = f"tcp://{first.address}:{ports[0]}", f"http://{first.address}:{ports[1]}"
        for machine in (first, second):
            machine.environment |= {
                "AWS_ENDPOINT_URL": s3,
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        first.start("s3", [SCRIPTS / "moto_server", "-H", first.address, "-p", ports[1]])
        first.start(
            "scheduler",
            [SCRIPTS / "dask", "scheduler", "--host", first.address, "--port", ports[0], "--no-dashboard"],
        )
        wait_for(lambda: "Scheduler at" in first.printed("scheduler"), "the scheduler", first)
        wait_for(lambda: "Running on" in first.printed("s3"), "S3", first)
        for machine in (first, second):
            self.start_worker(machine)

    def start_worker(self, machine: Machine) -> None:
        """One process of one thread, which has registered when this returns."""
        arguments = ["worker", self.scheduler, "--host", machine.address, "--nthreads", 1, "--no-nanny"]
        n_before = machine.printed("worker").count("Registered to")
        machine.start("worker", [SCRIPTS / "dask", *arguments, "--preload", PROGRAM, "--no-dashboard"])
        wait_for(lambda: machine.printed("worker").count("Registered to") > n_before, "a worker", machine)

    def start_flow(self, machine: Machine, name: str, settings: list[str], url: str) -> "subprocess.Popen[bytes]":
        """`dask_run.py` on a machine, which asks the cluster."""
        wanted = json.dumps([*settings, f"store={url}"])
        arguments = [sys.executable, PROGRAM, wanted, machine.home / name, "on a cluster"]
        return machine.start(name, arguments, TSREC_DASK=self.scheduler)

    def make_bucket(self, name: str) -> str:
        """A new bucket; the address of a store in it."""
        code = f"import fsspec; fsspec.filesystem('s3').mkdir('{name}')"
        assert self.first.start("bucket", [sys.executable, "-c", code]).wait() == 0, self.first.printed("bucket")
        return f"s3://{name}/store"

    def contents(self, url: str, lists: Path) -> dict[str, str]:
        """Hashes of all that a run has left in the store and as lists of users."""
        log = self.first.log("contents")
        log.unlink(missing_ok=True)
        assert self.first.start("contents", [sys.executable, "-c", _LIST, url]).wait() == 0, log.read_text()
        return contents(json.loads(log.read_text().splitlines()[-1]), lists)


def contents(files: dict[str, str], lists: Path) -> dict[str, str]:
    """Hashes of files of artifacts but those that hold times, and of the lists of users."""
    from tsrec.store import file_sha256

    parts = {path.relative_to(lists).as_posix(): file_sha256(path) for path in sorted(lists.rglob("*.parquet"))}
    return {name: sha256 for name, sha256 in files.items() if not name.endswith(TIMED)} | parts


def wait_for(condition: Callable[[], bool], what: str, machine: Machine) -> None:
    """Wait for something that happens on a machine."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > PATIENCE_S:
            logs = "\n".join(f"{log}: {log.read_text(errors='replace')[-2000:]}" for log in machine.home.glob("*.log"))
            raise TimeoutError(f"{what} did not come\n{logs}")
        time.sleep(0.1)


def finish(process: "subprocess.Popen[bytes]", machine: Machine, name: str) -> str:
    """Wait for a flow, and give back what it printed."""
    status = process.wait(PATIENCE_S)
    assert status == 0, machine.printed(name)[-5000:]
    return machine.printed(name)


def made_by_workers(printed: str) -> dict[str, tuple[int, int]]:
    """Stage -> shards that workers made, and shards that were due, of the last time."""
    found = re.findall(r"(\w+): Dask workers have made (\d+) of (\d+) shards", printed)
    return {stage: (int(made), int(due)) for stage, made, due in found}


def measure(
    folder: Path, *, namespaces: bool, trials: tuple[str, ...] = ("undisturbed", "worker", "flow")
) -> list[str]:
    """Run the trials, check every byte, and say what was seen."""
    (folder / "shop").mkdir(parents=True)
    write_shop(folder / "shop")
    write_backbone(folder / "backbone")
    settings, said = settings_of(folder / "shop", folder / "backbone"), []
    with two_machines(folder, namespaces=namespaces) as (first, second):
        wanted = json.dumps([*settings, f"store={first.home / 'store'}"])
        finish(first.start("alone", [sys.executable, PROGRAM, wanted, first.home / "alone"]), first, "alone")
        cluster = Cluster(first, second)
        one_process = cluster.contents(str(first.home / "store"), first.home / "alone")
        assert len(one_process) > 40, sorted(one_process)
        for trial in trials:
            began, url = time.monotonic(), cluster.make_bucket(trial)
            machine, printed = TRIALS[trial](cluster, settings, url)
            made = made_by_workers(printed)
            assert cluster.contents(url, machine.home / trial) == one_process, f"{trial}: other bytes"
            said.append(f"{trial}: the same {len(one_process)} files after {time.monotonic() - began:.0f} s; {made}")
            print(said[-1], flush=True)
    return said


def _undisturbed(cluster: Cluster, settings: list[str], url: str) -> tuple[Machine, str]:
    first = cluster.first
    printed = finish(cluster.start_flow(first, "undisturbed", settings, url), first, "undisturbed")
    made = made_by_workers(printed)
    assert all(made[stage][0] == made[stage][1] > 1 for stage in SHARED), made
    return first, printed


def _lose_a_worker(cluster: Cluster, settings: list[str], url: str) -> tuple[Machine, str]:
    first, second = cluster.first, cluster.second
    flow = cluster.start_flow(first, "worker", settings, url)
    _wait_for_a_shard(cluster, "worker", flow)
    second.kill()
    printed = finish(flow, first, "worker")
    assert re.search(r"fuse: \d+ shards are made by 1 Dask worker", printed), printed[-5000:]
    cluster.start_worker(second)
    return first, printed


def _lose_the_flow(cluster: Cluster, settings: list[str], url: str) -> tuple[Machine, str]:
    first, second = cluster.first, cluster.second
    flow = cluster.start_flow(first, "flow", settings, url)
    _wait_for_a_shard(cluster, "flow", flow)
    kill(flow)
    before = first.printed("flow")
    assert "decode: Dask workers have made" not in before, "it was killed too late"
    printed = finish(cluster.start_flow(second, "flow", settings, url), second, "flow")
    (n_due,) = re.findall(r"decode: (\d+) shards are made by", before)
    made = made_by_workers(printed)
    assert not made.keys() & {"keywords", "embed"}, "what was finished is found"
    assert made.get("decode", (0, 0))[1] < int(n_due), "shards that were made are found"
    return second, printed


def _wait_for_a_shard(cluster: Cluster, bucket: str, flow: "subprocess.Popen[bytes]") -> None:
    """Until S3 has a shard of `decode`."""
    is_there = re.compile(rf"PUT /{bucket}/store/shop/decode/\S+-shards/\S+\.seal")
    wait_for(lambda: bool(is_there.search(cluster.first.printed("s3"))), "a shard", cluster.first)
    assert flow.poll() is None


TRIALS = {"undisturbed": _undisturbed, "worker": _lose_a_worker, "flow": _lose_the_flow}


def main() -> None:
    """Parse the arguments, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--no-namespaces", action="store_true", help="two homes on one network")
    parser.add_argument("--trials", nargs="+", choices=sorted(TRIALS), default=list(TRIALS))
    options = parser.parse_args()
    namespaces = not options.no_namespaces and may_make_namespaces()
    print("two network namespaces" if namespaces else "two homes on one network", flush=True)
    measure(options.folder.resolve(), namespaces=namespaces, trials=tuple(options.trials))


if __name__ == "__main__":
    main()
