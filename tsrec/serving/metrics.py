"""What a server counts, for Prometheus: requests by route and status, latency by stage, batches, cuts, cache hits.

Several workers of one server share their numbers through files, where `PROMETHEUS_MULTIPROC_DIR` names a folder for
them before this module is imported; whichever worker is asked then tells those of all.
"""

import os
import time

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHARED = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_NO_ROUTE = "other"


class Metrics:
    """The numbers of one app, in a registry of its own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "tsrec_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "tsrec_request_seconds",
            "From a request to its answer.",
            ["route"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._stage_seconds = Histogram(
            "tsrec_stage_seconds",
            "Of each stage of making lists.",
            ["stage"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._batch_lists = Histogram(
            "tsrec_batch_lists", "Lists made together, by stage.", ["stage"], registry=registry, buckets=_SIZES
        )
        self._cut = Counter("tsrec_lists_cut", "Lists without a member that had no time.", registry=registry)
        self._cached = Counter(
            "tsrec_list_cache", "Lists of an LLM that were looked up.", ["result"], registry=registry
        )

    def text(self) -> bytes:
        """All numbers as Prometheus reads them."""
        if os.environ.get(SHARED):
            of_all = CollectorRegistry()
            multiprocess.MultiProcessCollector(of_all)
            return generate_latest(of_all)
        return generate_latest(self._registry)

    def observe(self, name: str, value: float) -> None:
        """What the engine tells; see `observing`."""
        if name == "cache_hit":
            self._cached.labels("hit" if value else "miss").inc()
        elif name == "left_out":
            self._cut.inc(value > 0)
        elif name.endswith("_batch"):
            self._batch_lists.labels(name.removesuffix("_batch")).observe(value)
        elif name.endswith("_s"):
            self._stage_seconds.labels(name.removesuffix("_s")).observe(value)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)


def with_metrics(app: ASGIApp, metrics: Metrics) -> ASGIApp:
    """`app`, whose requests are counted."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, send_and_see)
        finally:
            route = getattr(scope.get("route"), "path", _NO_ROUTE)  # as it is declared: ids are no labels
            metrics.answered(route, scope["method"], status, time.perf_counter() - began)

    return counted
