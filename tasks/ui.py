"""Shows things in Prefect's UI. A failure to show never fails a stage: what was built lies in the store."""

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("tsrec.ui")


def show_in_ui(publish: Callable[..., object], *arguments: Any) -> None:
    """Call `publish`; where the server cannot be reached, or refuses, that is logged and no more."""
    try:
        publish(*arguments)
    except Exception as error:  # whatever goes wrong between here and a browser
        logger.warning("not shown in the UI: %s: %s", type(error).__name__, error)
