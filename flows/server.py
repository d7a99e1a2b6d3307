"""Is there a Prefect server? Asked without Prefect, whose own attempts take long and end in a traceback."""

import os

import httpx

from flows.error_logging import masked
from tsrec.errors import TsrecError


def answers(url: str) -> bool:
    """Whether a Prefect server answers at `url` (which ends in /api)."""
    try:
        # Anything below 500 is a server: Prefect Cloud answers 401 or 404 here, and its client brings the key.
        return httpx.get(f"{url.rstrip('/')}/health", timeout=5).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def check_configured() -> None:
    """Raise TsrecError where Prefect is told to use a server that does not answer."""
    import flows.settings  # noqa: F401  (before prefect)

    from prefect.settings import PREFECT_API_URL  # isort: skip

    url = PREFECT_API_URL.value()
    if url and not answers(str(url)):
        where = "PREFECT_API_URL" if "PREFECT_API_URL" in os.environ else "Prefect's profile"
        raise TsrecError(
            f"{where} names the server {masked(str(url))}, which does not answer; start it, take the setting out "
            "(a run brings a server of its own), or give --no-prefect"
        )
