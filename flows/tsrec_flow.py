"""The decorator of all flows: logging, the task runner, and errors without passwords of addresses."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from flows import run_logging
from tasks.dask_shards import task_runner_by_environment
from tasks.masking import masked, masked_errors
from tsrec.store import FlowRun

P = ParamSpec("P")
R = TypeVar("R")


class _MaskedFlow(Flow[P, R]):
    """Also where parameters are refused, errors are masked in states, events and tracebacks."""

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        with masked_errors():
            return super().validate_parameters(parameters)


def tsrec_flow(name: str, run_name: str) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Prefect's decorator `flow` with what all our flows have; `run_name` is a template of the flow's parameters."""
    run_logging.install()  # parameters are refused, and logged, before a flow begins

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        @functools.wraps(function)
        def logged(*args: P.args, **kwargs: P.kwargs) -> R:
            run_logging.install()
            with masked_errors():
                return function(*args, **kwargs)

        return _MaskedFlow(
            logged,
            name=name,
            flow_run_name=run_name,
            persist_result=False,
            task_runner=task_runner_by_environment(),
            on_failure=[run_logging.log_refusal],
        )

    return decorate


def this_flow_run() -> FlowRun:
    """The flow run at work, for the records of the store. Its page is left out where the address holds a password."""
    run_id = str(flow_run.id)
    url = url_for("flow-run", obj_id=run_id)
    return FlowRun(id=run_id, url=url if url and url == masked(url) else None)
