"""Which worker has which run, told by the Prefect server alone: it holds across hosts, containers and restarts.

A worker writes its name and a number that grows into the labels of its runs. Where the number has stood still for
`LEASE_S`, the worker is dead. One that cannot write ends its runs earlier, after `HOLD_S`: it may be taken for dead.
No clock of one machine is compared with another's.

Prefect's own leases, those of its concurrency limits, lie in the memory of the server: when it starts again, slots
that were taken stay so.
"""

import contextlib
import itertools
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

LEASE_S = 120.0
HOLD_S = 90.0
WORKER, BEAT = "tsrec.worker", "tsrec.beat"
"""Labels of a run: the worker that has it, and that worker's growing number."""
_BEAT_EVERY_S = 12.0
_BEAT_TIMEOUT_S = 8.0  # to connect, and to be answered: HOLD_S, a pause and these are less than LEASE_S
_START_LOCK = "tsrec_serve_turn"


class Heartbeat:
    """The leases of one worker's runs, renewed by a thread of its own: a look at the server may take a minute."""

    def __init__(self, processes: dict[UUID, subprocess.Popen[bytes]]) -> None:
        """`processes` are the runs that the worker has, and the process groups that work on them."""
        self.worker = f"{platform.node()}-{uuid4().hex[:8]}"
        self.lapsed: set[UUID] = set()
        """Runs that were ended because their lease could not be renewed."""
        self._processes = processes
        self._renewed: dict[UUID, float] = {}
        self._beats = itertools.count()
        self._stopping = threading.Event()

    def take(self, client: SyncPrefectClient, run_id: UUID) -> None:
        """Take the lease of a run for this worker."""
        asked = time.monotonic()
        client.update_flow_run_labels(run_id, {WORKER: self.worker, BEAT: next(self._beats)})
        self._renewed[run_id] = asked
        self.lapsed.discard(run_id)

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Renew the leases until the end of the block."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        try:
            yield
        finally:
            self._stopping.set()  # it may be waiting for a server that is lost; nobody waits for it

    def _beat(self) -> None:
        # No second tries: the next beat is one, and waiting for them would outlast the lease.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            while not self._stopping.wait(_BEAT_EVERY_S):
                if any(process.poll() is None for process in self._processes.copy().values()):
                    with contextlib.suppress(httpx.HTTPError):
                        self._renew()
                    self._end_overdue()

    def _renew(self) -> None:
        with get_client(sync_client=True, httpx_settings={"timeout": _BEAT_TIMEOUT_S}) as client:
            for run_id in self._processes.copy():
                asked = time.monotonic()
                with contextlib.suppress(ObjectNotFound):  # deleted in the UI
                    client.update_flow_run_labels(run_id, {BEAT: next(self._beats)})
                self._renewed[run_id] = asked
                self._end_overdue()

    def _end_overdue(self) -> None:
        for run_id, process in self._processes.copy().items():
            if process.poll() is None and time.monotonic() - self._renewed[run_id] > HOLD_S:
                self.lapsed.add(run_id)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


class LeaseMonitor:
    """Tells which leases have lapsed: those that did not change during `LEASE_S` of this worker's polling."""

    def __init__(self) -> None:
        self._seen: dict[Any, tuple[object, float]] = {}  # -> the lease, and for how many seconds it was the same
        self._polled = time.monotonic()

    def lapsed(self, leases: Mapping[Any, object]) -> list[Any]:
        """The keys of those that have lapsed, of all that there are now."""
        # Of a pause (the server was away, this machine slept) little counts: the others could not renew theirs either.
        passed = min(time.monotonic() - self._polled, _BEAT_EVERY_S)
        self._polled = time.monotonic()
        seen = {}
        for key, lease in leases.items():
            before, seconds = self._seen.get(key, (None, 0.0))
            seen[key] = (lease, seconds + passed if before == lease else 0.0)
        self._seen = seen
        return [key for key, (_, seconds) in seen.items() if seconds > LEASE_S]


class StartLock:
    """A lock in the Prefect server: only the worker that holds it starts runs.

    Without it two workers would see the same free place, and both take it.

    It is a variable in the server, which only one worker can make. That of a worker that died is removed after
    `LEASE_S`.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._lease_monitor = LeaseMonitor()
        self._id: UUID | None = None
        self._until = 0.0

    def take(self, client: SyncPrefectClient) -> bool:
        """Try to take the lock; whether this worker holds it now. If not, try again at the next poll."""
        if self._id:  # the server did not hear that the last one was over
            self.release(client)
        self._until = time.monotonic() + HOLD_S
        try:
            self._id = client.create_variable(VariableCreate(name=_START_LOCK, value=self.worker)).id
        except ObjectAlreadyExists:
            other = client.read_variable_by_name(_START_LOCK)
            if other and other.value == self.worker:  # made by a request whose answer was lost
                self._id = other.id
            elif other and self._lease_monitor.lapsed({other.id: other.value}):
                _delete(client, other.id)
        return self._id is not None

    @property
    def has_expired(self) -> bool:
        """Whether this worker has held the lock so long that another one may have taken it."""
        return time.monotonic() > self._until

    def release(self, client: SyncPrefectClient) -> None:
        """Release the lock."""
        if self._id:
            _delete(client, self._id)
        self._id = None


def _delete(client: SyncPrefectClient, variable: UUID) -> None:
    """Delete this one, not a later one of the same name."""
    try:
        client.request("DELETE", "/variables/{id}", path_params={"id": variable})
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
