"""What a run logs: tsrec's own lines too, and neither tracebacks of deliberate errors nor secrets in addresses.

A flow installs it when it starts: whoever runs it (this command line, `tsrec serve`, a worker) may have set nothing.
"""

import logging
from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler
from prefect.logging.loggers import flow_run_logger

from tasks.masking import masked
from tsrec.errors import TsrecError
from tsrec.store import locks


def drop_deliberate_traceback(record: logging.LogRecord) -> bool:
    """A logging filter: keeps every record, and cuts the traceback of a TsrecError."""
    if record.exc_info and isinstance(record.exc_info[1], TsrecError):
        record.exc_info = None
    return True


def mask_addresses(record: logging.LogRecord) -> bool:
    """A logging filter: keeps every record, and masks user names, passwords and queries of addresses in it.

    Such an address is refused, but Prefect logs the parameters of a refused run as they came.
    """
    message = record.getMessage()
    if (shown := masked(message)) != message:
        record.msg, record.args = shown, ()
    return True


def install() -> None:
    """Filter the loggers that Prefect reports failed and refused runs to, show what tsrec logs with the run, and let
    who waits for this run name it."""
    context = FlowRunContext.get()
    if context and context.flow_run:
        locks.RUN.set(f"{context.flow_run.name} ({str(context.flow_run.id)[:8]})")
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.flows"):
        logger = logging.getLogger(name)  # a filter that is there already is not added again
        logger.addFilter(drop_deliberate_traceback)
        logger.addFilter(mask_addresses)
    tsrec_logger = logging.getLogger("tsrec")
    if tsrec_logger.level == logging.NOTSET:
        tsrec_logger.setLevel(logging.INFO)
    if not any(isinstance(handler, APILogHandler) for handler in tsrec_logger.handlers):
        handler = APILogHandler()
        handler.addFilter(mask_addresses)
        handler.addFilter(lambda _: bool(FlowRunContext.get() or TaskRunContext.get()))  # tsrec also works without runs
        tsrec_logger.addHandler(handler)


def log_refusal(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """A flow's hook on failure: parameters that were refused are told in the run's log too; Prefect leaves it empty."""
    if (state.message or "").startswith("Validation of flow parameters failed"):
        flow_run_logger(flow_run, flow).error("%s", masked(state.message or ""))
