"""Runs what is due of some deployments, one process each, and keeps their states true.

Prefect's own runner waits half a minute before it kills, ends with its server, and pauses deployments when it stops.
Here a run is a process group that is killed at once, because every stage resumes from what it has sealed; a server that
is lost is waited for; and a run whose process or worker is gone says Crashed, with its tasks, whoever started it.
"""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import FlowRunResponse, SetStateStatus
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Crashed, Failed, Pending, Scheduled
from prefect.utilities.schema_tools.hydration import HydrationContext, hydrate

from flows.form_schema import merged_parameters
from flows.leases import BEAT, HOLD_S, LEASE_S, WORKER, Heartbeat, LeaseMonitor, StartLock
from flows.parameter_checks import TAG
from flows.schedules import check_cron
from flows.server import say
from tasks.masking import masked_in_one_line
from tsrec.config import Config
from tsrec.errors import ConfigError

POLL_EVERY_S = 1.5
QUEUED = "Queued"  # not Prefect's "Late": nothing is wrong
RESUMES = "Retry, or a new run of the same parameters, goes on where it was."
_LATE_TASKS_S = 60.0
_ACTIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_Run = FlowRun | FlowRunResponse


class Runner:
    """Runs the deployments of one `tsrec serve` until it is stopped."""

    def __init__(self, deployments: Mapping[UUID, str], limit: int, server_answers: Callable[[], bool]) -> None:
        """Of `deployments` (id -> name), at most `limit` runs of a data set at a time, those of all workers counted.

        `server_answers` is asked before every look, and may bring a lost server back.
        """
        self.deployments = deployments
        self.limit = limit
        self.server_answers = server_answers
        self.stopping = threading.Event()
        self.processes: dict[UUID, subprocess.Popen[bytes]] = {}
        self._heartbeat = Heartbeat(self.processes)
        self._start_lock = StartLock(self._heartbeat.worker)
        self._lease_monitor = LeaseMonitor()
        self._late_tasks: dict[UUID, tuple[State[Any], float]] = {}
        self._printed: set[str] = set()
        self._server_lost_since: float | None = None

    def run(self) -> None:
        """Look for work until `stopping` is set; then end what runs, and say so in its state."""
        with get_client(sync_client=True) as client:
            with self._heartbeat.beating():
                while not self.stopping.is_set():
                    self._poll(client)
                    self.stopping.wait(POLL_EVERY_S)
            self._stop(client)

    def _poll(self, client: SyncPrefectClient) -> None:
        if not self.server_answers():
            self._report_lost_server()
            return
        try:
            active = self._read_active(client)
            self._settle_late_tasks(client, active)
            self._settle_own_runs(client, active)
            self._start_due_and_end_dead(client, active)
        except httpx.HTTPError as error:
            self._report_lost_server(error)
        else:
            if self._server_lost_since is not None:
                say(f"the Prefect server answers again after {time.monotonic() - self._server_lost_since:.0f} s")
            self._server_lost_since = None

    def _report_lost_server(self, error: Exception | None = None) -> None:
        if self._server_lost_since is None:
            self._server_lost_since = time.monotonic()
            why = f" ({masked_in_one_line(error)})" if error else ""
            say(
                f"the Prefect server does not answer{why}; nothing new starts until it does. Runs go on for "
                f"{HOLD_S:.0f} s; then they stop, and go on when it answers"
            )

    def _read_active(self, client: SyncPrefectClient) -> dict[UUID, FlowRun]:
        """Runs of all workers that are at work, and those that this one has a process of, whatever their state; those
        that were due first come first."""
        filters = [FlowRunFilter.model_validate({"tags": {"all_": [TAG]}, "state": {"type": {"any_": _ACTIVE}}})]
        if self.processes:
            filters.append(FlowRunFilter.model_validate({"id": {"any_": list(self.processes)}}))
        found = [
            run
            for which in filters
            for run in client.read_flow_runs(flow_run_filter=which, sort=FlowRunSort.EXPECTED_START_TIME_ASC)
            if run.deployment_id and not run.work_pool_name  # other runs are those of Prefect's own workers
        ]
        return {run.id: run for run in found}

    @contextlib.contextmanager
    def _isolating_errors(self, client: SyncPrefectClient, run: UUID, *, due: bool = False) -> Iterator[None]:
        """Keep an error of one run from the others: print it, and set a run that is `due` to Failed."""
        try:
            yield
        except ObjectNotFound:  # deleted in the UI
            pass
        except Exception as error:
            answer = error.response if isinstance(error, httpx.HTTPStatusError) else None
            if isinstance(error, httpx.HTTPError) and (answer is None or answer.is_server_error):
                raise  # the server is lost, to all of them
            kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
            what = kind + masked_in_one_line(error)
            if due:
                with contextlib.suppress(ObjectNotFound):
                    client.set_flow_run_state(run, Failed(message=f"it cannot be started: {what}"), force=True)
            if (line := f"run {run}: {what}") not in self._printed:
                say(line)
            self._printed.add(line)

    def _settle_late_tasks(self, client: SyncPrefectClient, active: Mapping[UUID, FlowRun]) -> None:
        """End tasks that appear after their run has ended: a killed process's last messages may arrive late."""
        for run_id, (state, until) in list(self._late_tasks.items()):
            retried = run_id in active and _is_active(active[run_id])  # its tasks are alive
            if retried or time.monotonic() > until:
                del self._late_tasks[run_id]
                continue
            with self._isolating_errors(client, run_id):
                _settle_tasks(client, run_id, state)

    def _settle_own_runs(self, client: SyncPrefectClient, active: Mapping[UUID, FlowRun]) -> None:
        """End own runs that were cancelled or deleted, and those whose process has ended without setting a state."""
        for run_id, process in list(self.processes.items()):
            with self._isolating_errors(client, run_id):
                run = active.get(run_id)
                if run is None:
                    self._kill(run_id)
                    say(f"run {run_id} was deleted; its process was ended")
                elif run.labels.get(WORKER) != self._heartbeat.worker:
                    self._kill(run_id)
                    say(f"run {run.name} was taken for dead by another worker; its process was ended")
                elif run.state and run.state.type in (StateType.CANCELLING, StateType.CANCELLED):
                    self._kill(run_id)
                    self._settle(client, run_id, Cancelled(message=f"cancelled; what was built stays. {RESUMES}"))
                elif (code := process.poll()) is None:
                    continue
                elif run_id in self._heartbeat.lapsed:
                    why = f"the Prefect server did not hear of its worker for {HOLD_S:.0f} s"
                    if self._settle(client, run_id, Crashed(message=f"{why}. {RESUMES}")):
                        retry: State[Any] = AwaitingRetry(
                            message=f"{why}; it goes on where it was", scheduled_time=datetime.now(UTC)
                        )
                        client.set_flow_run_state(run_id, retry, force=True)
                else:
                    ending = f"ended by signal {-code}" if code < 0 else f"ended with status {code}"
                    self._settle(client, run_id, Crashed(message=f"its process {ending}. {RESUMES}"))
            self.processes.pop(run_id)

    def _start_due_and_end_dead(self, client: SyncPrefectClient, active: Mapping[UUID, FlowRun]) -> None:
        """Start what is due where there is room for it, and end the runs of workers that are dead."""
        leases = {run.id: _lease(run) for run in active.values() if run.id not in self.processes}
        dead = {run_id: leases[run_id] for run_id in self._lease_monitor.lapsed(leases)}
        if not dead and all(self._is_queued(run, active) for run in self._read_due(client)):
            return
        if not self._start_lock.take(client):
            return
        try:
            current = self._read_active(client)
            for run_id, lease in dead.items():
                if run_id in current and _lease(current[run_id]) == lease:
                    with self._isolating_errors(client, run_id):
                        self._end_dead(client, current.pop(run_id))
            self._start_due(client, current)
        finally:
            self._start_lock.release(client)

    def _end_dead(self, client: SyncPrefectClient, run: FlowRun) -> None:
        """End the run of a worker that is dead; were it not, it would see that the run is not its own any more."""
        cancelled = run.state and run.state.type == StateType.CANCELLING
        worker = run.labels.get(WORKER, "none")
        why = f"nothing was heard of its worker ({worker}) for {LEASE_S:.0f} s. {RESUMES}"
        client.update_flow_run_labels(run.id, {WORKER: ""})
        self._settle(client, run.id, Cancelled(message=why) if cancelled else Crashed(message=why))

    def _read_due(self, client: SyncPrefectClient) -> list[FlowRunResponse]:
        due = client.get_scheduled_flow_runs_for_deployments(list(self.deployments), datetime.now(UTC))  # oldest first
        return [run for run in due if run.id not in self.processes]

    def _is_queued(self, run: _Run, active: Mapping[UUID, FlowRun]) -> bool:
        """Whether a run that is due is already shown as queued behind a run that is still active."""
        if run.state is None or run.state.name != QUEUED:
            return False
        others = _runs_of_same_data_set(run, active)
        return len(others) >= self.limit and (run.state.message or "").startswith(_waiting_for(others[0]))

    def _start_due(self, client: SyncPrefectClient, active: dict[UUID, FlowRun]) -> None:
        due = self._read_due(client)
        newest = {_schedule_of(run): run.id for run in due if run.auto_scheduled}
        for run in due:
            if self._start_lock.has_expired:
                return
            with self._isolating_errors(client, run.id, due=True):
                if run.auto_scheduled and newest[_schedule_of(run)] != run.id:
                    client.set_flow_run_state(run.id, Cancelled(message="missed; a later run of its schedule is due"))
                    continue
                run.parameters = self._completed(client, run)
                _dataset(run.parameters)
                others = _runs_of_same_data_set(run, active)
                if len(others) >= self.limit:
                    if not self._is_queued(run, active):
                        _queue(client, run, others[0], self.limit)
                elif self._start(client, run):
                    active[run.id] = client.read_flow_run(run.id)

    def _completed(self, client: SyncPrefectClient, run: _Run) -> dict[str, Any]:
        """The parameters of a run; a schedule's may be single fields, which stand for themselves."""
        if not (run.auto_scheduled and run.deployment_id):
            return run.parameters
        deployment = client.read_deployment(run.deployment_id)
        for made in deployment.schedules:
            if isinstance(made.schedule, CronSchedule) and run.created_by and made.id == run.created_by.id:
                check_cron(made.schedule.cron)  # the UI takes others
        given = hydrate(run.parameters, HydrationContext(raise_on_error=True))  # what was written as JSON
        parameters = merged_parameters(given, deployment.parameters)
        if parameters != run.parameters:
            client.update_flow_run(run.id, parameters=parameters)
        return parameters

    def _start(self, client: SyncPrefectClient, run: _Run) -> bool:
        if client.set_flow_run_state(run.id, Pending()).status != SetStateStatus.ACCEPT:
            return False  # it was cancelled
        self._heartbeat.take(client, run.id)
        if self._start_lock.has_expired:  # another worker may have filled the place
            return False  # this run is Crashed when its lease ends
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.child_process", str(os.getpid()), "run"],
            env={**os.environ, "PREFECT__FLOW_RUN_ID": str(run.id)},
            start_new_session=True,  # a group to kill as one
        )
        self.processes[run.id] = process
        self._late_tasks.pop(run.id, None)  # a retry: its tasks are alive again
        client.update_flow_run(run.id, infrastructure_pid=f"{platform.node()}:{process.pid}")
        return True

    def _settle(self, client: SyncPrefectClient, run_id: UUID, state: State[Any]) -> bool:
        """Give a run, and its unfinished tasks, their last state, unless it has one or is scheduled anew; whether it
        had none. Raises ObjectNotFound where it was deleted."""
        if unfinished := _is_active(client.read_flow_run(run_id)):
            client.set_flow_run_state(run_id, state, force=True)
        self._late_tasks[run_id] = (state, time.monotonic() + _LATE_TASKS_S)
        _settle_tasks(client, run_id, state)
        return unfinished

    def _kill(self, run_id: UUID) -> None:
        process = self.processes[run_id]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _stop(self, client: SyncPrefectClient) -> None:
        if self.processes:
            say(f"stopping; {len(self.processes)} unfinished run(s) end now and go on when they are run again")
        for run_id in self.processes:
            self._kill(run_id)
        try:
            for run_id in list(self.processes):
                if self.server_answers():
                    with self._isolating_errors(client, run_id):
                        self._settle(client, run_id, Crashed(message=f"tsrec serve was stopped. {RESUMES}"))
                self.processes.pop(run_id)
        except httpx.HTTPError as error:
            why = masked_in_one_line(error)
            say(f"the Prefect server does not answer ({why}); any other `tsrec serve` sets the states of these runs")


def _queue(client: SyncPrefectClient, run: _Run, other: FlowRun, limit: int) -> None:
    due = run.next_scheduled_start_time or run.expected_start_time
    message = f"{_waiting_for(other)} {limit} run(s) of a data set at a time"
    client.set_flow_run_state(run.id, Scheduled(name=QUEUED, message=message, scheduled_time=due), force=True)


def _waiting_for(other: FlowRun) -> str:
    return f"waits for {other.name}:"  # it gets its name from its flow when it starts


def _settle_tasks(client: SyncPrefectClient, run_id: UUID, state: State[Any]) -> None:
    unfinished = TaskRunFilter.model_validate({"state": {"type": {"any_": [*_ACTIVE, StateType.SCHEDULED]}}})
    own = FlowRunFilter.model_validate({"id": {"any_": [run_id]}})
    for task in client.read_task_runs(flow_run_filter=own, task_run_filter=unfinished):
        client.set_task_run_state(task.id, state.model_copy(update={"message": "its flow run ended"}), force=True)


def _is_active(run: FlowRun) -> bool:
    return run.state is not None and run.state.type in _ACTIVE


def _lease(run: FlowRun) -> tuple[object, ...]:
    """What changes as long as somebody has the run: its state while it is starting, then its worker's number."""
    return run.state_id, run.labels.get(WORKER), run.labels.get(BEAT)


def _schedule_of(run: _Run) -> tuple[UUID | None, UUID | None]:
    """The schedule that a run comes from: a deployment may have several."""
    return run.deployment_id, run.created_by.id if run.created_by else None


def _dataset(parameters: Mapping[str, Any]) -> str:
    """The data set that a run is of. Raises ConfigError where its parameters cannot be understood."""
    config = parameters.get("config") or {}
    if not isinstance(config, Mapping):
        raise ConfigError(f"config is {json.dumps(config)[:100]}, which is no section; give its fields by name")
    return str(config.get("dataset", Config.model_fields["dataset"].default))


def _runs_of_same_data_set(run: _Run, active: Mapping[UUID, FlowRun]) -> list[FlowRun]:
    """Other runs of a run's data set; none where it cannot be told."""
    same: list[FlowRun] = []
    for other in active.values():
        with contextlib.suppress(ConfigError):
            if other.id != run.id and _dataset(other.parameters) == _dataset(run.parameters):
                same.append(other)
    return same
