"""Runs what is due of some deployments, one process each, and keeps their states true.

Prefect's own runner waits half a minute before it kills, ends with its server, and pauses deployments when it stops.
Here a run is a process group that is killed at once, because every stage resumes from what it has sealed; a server that
is lost is waited for; and a run whose process is gone says Crashed, with its tasks, whoever started it.
"""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import FlowRunResponse, SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Crashed, Pending, Scheduled
from prefect.utilities.schema_tools.hydration import HydrationContext, hydrate

from flows.form import completed
from tsrec.config import Config

LOOK_EVERY_S = 1.5
QUEUED = "Queued"  # not Prefect's "Late": nothing is wrong
RESUMES = "Retry, or a new run of the same parameters, goes on where it was."
_UNSTARTED = timedelta(minutes=2)
_STARTING = timedelta(minutes=1)
_SETTLING_S = 60.0
_ACTIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_Run = FlowRun | FlowRunResponse


class Runner:
    """Runs the deployments of one `tsrec serve` until it is stopped."""

    def __init__(self, deployments: Mapping[UUID, str], limit: int, server_answers: Callable[[], bool]) -> None:
        """Of `deployments` (id -> name), at most `limit` runs of a data set at a time.

        `server_answers` is asked before every look, and may bring a lost server back.
        """
        self.deployments = deployments
        self.limit = limit
        self.server_answers = server_answers
        self.stopping = threading.Event()
        self.processes: dict[UUID, subprocess.Popen[bytes]] = {}
        self.datasets: dict[UUID, str] = {}
        self._settling: dict[UUID, tuple[State[Any], float]] = {}
        self._lost_since: float | None = None

    def run(self) -> None:
        """Look for work until `stopping` is set; then end what runs, and say so in its state."""
        with get_client(sync_client=True) as client:
            while not self.stopping.is_set():
                self._look(client)
                self.stopping.wait(LOOK_EVERY_S)
            self._stop(client)

    def _look(self, client: SyncPrefectClient) -> None:
        if not self.server_answers():
            self._say_lost()
            return
        try:
            self._settle_ended(client)
            self._settle_active(client)
            self._start_due(client)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            self._say_lost(error)
        else:
            if self._lost_since is not None:
                _say(f"the Prefect server answers again after {time.monotonic() - self._lost_since:.0f} s")
            self._lost_since = None

    def _say_lost(self, error: Exception | None = None) -> None:
        if self._lost_since is None:
            self._lost_since = time.monotonic()
            why = f" ({error})" if error else ""
            _say(f"the Prefect server does not answer{why}; runs go on, nothing new starts until it does")

    def _start_due(self, client: SyncPrefectClient) -> None:
        due = client.get_scheduled_flow_runs_for_deployments(list(self.deployments), datetime.now(UTC))
        newest = {run.deployment_id: run.id for run in due if run.auto_scheduled}  # oldest first
        for run in due:
            dataset = _dataset(self._completed(client, run))
            running = [other for other in self.processes if self.datasets[other] == dataset]
            if run.auto_scheduled and newest[run.deployment_id] != run.id:
                client.set_flow_run_state(run.id, Cancelled(message="missed; a later run of its schedule is due"))
            elif len(running) < self.limit:
                self._start(client, run, dataset)
            else:
                _queue(client, run, client.read_flow_run(running[0]).name, self.limit)

    def _completed(self, client: SyncPrefectClient, run: _Run) -> dict[str, Any]:
        """The parameters of a run; a schedule's may be single fields, which stand for themselves."""
        if not (run.auto_scheduled and run.deployment_id):
            return run.parameters
        given = hydrate(run.parameters, HydrationContext())  # what was written as JSON
        parameters = completed(given, client.read_deployment(run.deployment_id).parameters)
        if parameters != run.parameters:
            client.update_flow_run(run.id, parameters=parameters)
        return parameters

    def _start(self, client: SyncPrefectClient, run: _Run, dataset: str) -> None:
        if client.set_flow_run_state(run.id, Pending()).status != SetStateStatus.ACCEPT:
            return  # somebody else has it, or it was cancelled
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.child", str(os.getpid()), "run"],
            env={**os.environ, "PREFECT__FLOW_RUN_ID": str(run.id)},
            start_new_session=True,  # a group to kill as one
        )
        self.processes[run.id], self.datasets[run.id] = process, dataset
        self._settling.pop(run.id, None)  # a retry: its tasks are alive again
        client.update_flow_run(run.id, infrastructure_pid=f"{platform.node()}:{process.pid}")

    def _settle_ended(self, client: SyncPrefectClient) -> None:
        """Runs whose process has ended without saying so."""
        for run_id, process in list(self.processes.items()):
            if (code := process.poll()) is None:
                continue
            how = f"ended by signal {-code}" if code < 0 else f"ended with status {code}"
            self._settle(client, run_id, Crashed(message=f"its process {how}. {RESUMES}"))
            self._forget(run_id)
        for run_id, (state, until) in list(self._settling.items()):
            _settle_tasks(client, run_id, state)  # what a killed process sent last may still be on its way
            if time.monotonic() > until:
                del self._settling[run_id]

    def _settle_active(self, client: SyncPrefectClient) -> None:
        """Runs to be cancelled, and runs of processes that are gone."""
        for run in self._read_active(client):
            wanted = run.state and run.state.type
            if run.id in self.processes:
                if wanted in (StateType.CANCELLING, StateType.CANCELLED):
                    self._kill(run.id)
                    self._settle(client, run.id, Cancelled(message=f"cancelled; what was built stays. {RESUMES}"))
                    self._forget(run.id)
            elif wanted != StateType.CANCELLED and _is_gone(run):
                what = f"its process is gone ({run.infrastructure_pid or 'it never started'}). {RESUMES}"
                cancelled = wanted == StateType.CANCELLING
                self._settle(client, run.id, Cancelled(message=what) if cancelled else Crashed(message=what))

    def _read_active(self, client: SyncPrefectClient) -> Iterable[FlowRun]:
        yield from client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=list(self.deployments))),
            flow_run_filter=FlowRunFilter(state=_of_types(_ACTIVE)),
        )
        if self.processes:  # cancelled before the server knew that there was a process
            yield from client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    id=FlowRunFilterId(any_=list(self.processes)), state=_of_types([StateType.CANCELLED])
                )
            )

    def _settle(self, client: SyncPrefectClient, run_id: UUID, state: State[Any]) -> None:
        """Give a run, and its unfinished tasks, their last state, unless it has one or is scheduled anew."""
        try:
            now = client.read_flow_run(run_id).state
        except ObjectNotFound:  # deleted in the UI
            return
        if now and now.type in _ACTIVE:
            client.set_flow_run_state(run_id, state, force=True)
        self._settling[run_id] = (state, time.monotonic() + _SETTLING_S)
        _settle_tasks(client, run_id, state)

    def _kill(self, run_id: UUID) -> None:
        process = self.processes[run_id]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _forget(self, run_id: UUID) -> None:
        del self.processes[run_id], self.datasets[run_id]

    def _stop(self, client: SyncPrefectClient) -> None:
        if self.processes:
            _say(f"stopping; {len(self.processes)} unfinished run(s) end now and go on when they are run again")
        for run_id in self.processes:
            self._kill(run_id)
        try:
            for run_id in list(self.processes):
                if self.server_answers():
                    self._settle(client, run_id, Crashed(message=f"tsrec serve was stopped. {RESUMES}"))
                self._forget(run_id)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            _say(f"the Prefect server does not answer ({error}); the next `tsrec serve` sets the states of these runs")


def _queue(client: SyncPrefectClient, run: _Run, other: str, limit: int) -> None:
    due = run.next_scheduled_start_time or run.expected_start_time
    message = f"waits for {other}: {limit} run(s) of a data set at a time"
    if run.state and (run.state.name, run.state.message) == (QUEUED, message):
        return  # else it is new, or the other has got its name from its flow meanwhile
    client.set_flow_run_state(run.id, Scheduled(name=QUEUED, message=message, scheduled_time=due), force=True)


def _settle_tasks(client: SyncPrefectClient, run_id: UUID, state: State[Any]) -> None:
    unfinished = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[*_ACTIVE, StateType.SCHEDULED]))
        ),
    )
    for task in unfinished:
        client.set_task_run_state(task.id, state.model_copy(update={"message": "its flow run ended"}), force=True)


def _is_gone(run: FlowRun) -> bool:
    """Whether the process of an active run is known to be gone. Other hosts' processes cannot be seen from here."""
    if run.state is None:
        return False
    since, pending = run.state.timestamp, run.state.type == StateType.PENDING
    if pending and datetime.now(UTC) - since < _UNSTARTED:
        return False  # somebody is just starting it; the number noted may be of the attempt before
    host, _, pid = (run.infrastructure_pid or "").rpartition(":")
    if not pid:
        return pending
    if host != platform.node() or not pid.isdigit():
        return False
    try:
        process = psutil.Process(int(pid))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        # The number may be another process's by now: one that began after the run did.
        return datetime.fromtimestamp(process.create_time(), UTC) > since + _STARTING
    except psutil.NoSuchProcess:
        return True


def _dataset(parameters: Mapping[str, Any]) -> str:
    return str((parameters.get("config") or {}).get("dataset", Config.model_fields["dataset"].default))


def _of_types(types: list[StateType]) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=types))


def _say(line: str) -> None:
    print(f"tsrec serve: {line}", file=sys.stderr, flush=True)
