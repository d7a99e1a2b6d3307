"""Prefect's logs without what does not belong there: tracebacks of deliberate errors, and secrets in addresses."""

import logging
import re

from tsrec.errors import TsrecError

_SECRET_BEFORE_HOST = re.compile(r"(\w+://)[^\s'\"/@]+@")
_SECRET_QUERY = re.compile(r"(\w+://[^\s'\"?#]*[?#])[^\s'\"]+")


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


def masked(text: str) -> str:
    """The text, with stars for user names, passwords and queries of addresses."""
    return _SECRET_QUERY.sub(r"\1***", _SECRET_BEFORE_HOST.sub(r"\1***@", text))


def install() -> None:
    """Filter the loggers that Prefect reports failed and refused runs to."""
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.flows"):
        logging.getLogger(name).addFilter(drop_deliberate_traceback)
        logging.getLogger(name).addFilter(mask_addresses)
