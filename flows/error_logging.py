"""Deliberate errors without tracebacks in Prefect's logs: their message says what was wrong and what to do."""

import logging

from tsrec.errors import TsrecError


def drop_deliberate_traceback(record: logging.LogRecord) -> bool:
    """A logging filter: keeps every record, and cuts the traceback of a TsrecError."""
    if record.exc_info and isinstance(record.exc_info[1], TsrecError):
        record.exc_info = None
    return True


def install() -> None:
    """Filter the loggers that Prefect reports failed runs to."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(drop_deliberate_traceback)
