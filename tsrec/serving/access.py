"""Who may ask: whoever knows a key, where keys are asked for; and how much may be asked at once."""

import asyncio
import hmac
import os
from collections.abc import Callable, Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tsrec.errors import ConfigError
from tsrec.machine.addresses import is_loopback
from tsrec.serving.problems import problem

KEYS = "TSREC_API_KEYS"
MAX_BODY_BYTES = 8 * 1024 * 1024
"""Of one request: an `allow` of half a million ids."""
MAX_IN_FLIGHT = 512
"""Requests at once, in one process."""
BODY_S = 10.0
"""Between two pieces of a body."""
PROBES = frozenset({"/healthz", "/readyz"})
OPEN = PROBES | {"/", "/docs", "/openapi.json"}
"""What is answered without a key: it tells nothing of the data."""
OPEN_BELOW = "/page/"
_CHALLENGE = {"WWW-Authenticate": "Bearer"}
# Pages load what this server has, and nothing else; no other site shows them in a frame.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def keys_of_environment() -> tuple[str, ...]:
    """The keys that `TSREC_API_KEYS` lists, separated by commas."""
    return tuple(key for part in os.environ.get(KEYS, "").split(",") if (key := part.strip()))


def check_exposure(host: str, keys: Collection[str], without_auth: bool) -> None:
    """Raise ConfigError where a server would listen to other machines and ask nobody who they are."""
    if keys or without_auth or is_loopback(host):
        return
    raise ConfigError(
        f"--host {host}: whoever reaches this address could read the catalogue and users' histories; set {KEYS}=KEY "
        "(several with commas between them), or give --without-auth where something in front of it asks"
    )


def with_keys(app: ASGIApp, keys: Collection[str]) -> ASGIApp:
    """`app`, for who brings one of `keys` as `Authorization: Bearer KEY` or `X-API-Key: KEY`; `OPEN` is for all."""
    expected = [key.encode() for key in keys]

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        path = _path(scope)
        if scope["type"] != "http" or path in OPEN or path.startswith(OPEN_BELOW):
            await app(scope, receive, send)
            return
        given = _key_of(Headers(scope=scope))
        # Every key is compared, whatever was found: how long it takes tells nothing.
        known = [hmac.compare_digest(given.encode("latin-1"), key) for key in expected]
        if any(known):
            await app(scope, receive, send)
            return
        why = "this key is not known" if given else "this server wants a key"
        detail = f"{why}; send one as the header Authorization: Bearer KEY, or X-API-Key: KEY"
        await problem(401, detail, headers=_CHALLENGE)(scope, receive, send)

    return guarded


def with_bounded_load(app: ASGIApp, most: int, retry_after_s: Callable[[], int]) -> ASGIApp:
    """`app`, and 503 in place of its answer while `most` requests are under way; probes are always answered.
    `retry_after_s` says when to ask again."""
    n_running = 0

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal n_running
        if scope["type"] != "http" or _path(scope) in PROBES:
            await app(scope, receive, send)
            return
        if n_running >= most:
            seconds = retry_after_s()
            detail = f"too many requests are under way; ask again in {seconds} s"
            await problem(503, detail, headers={"Retry-After": str(seconds)})(scope, receive, send)
            return
        n_running += 1
        try:
            await app(scope, receive, send)
        finally:
            n_running -= 1

    return bounded


def with_timely_bodies(app: ASGIApp, most_s: float) -> ASGIApp:
    """`app`, and 408 in place of its answer where the next piece of a body does not come within `most_s`: who sends
    slowly would else hold a place for ever."""

    async def timely(scope: Scope, receive: Receive, send: Send) -> None:
        is_whole = False

        async def receive_in_time() -> Message:
            nonlocal is_whole
            if is_whole:  # what comes then is that the client has gone, whenever
                return await receive()
            try:
                async with asyncio.timeout(most_s):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"nothing more of the body came within {most_s:g} s") from None
            is_whole = not message.get("more_body", False)
            return message

        await app(scope, receive_in_time if scope["type"] == "http" else receive, send)

    return timely


def with_headers(app: ASGIApp) -> ASGIApp:
    """`app`, whose answers tell browsers to load nothing from elsewhere and to keep nothing."""

    async def headed(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, send_with_headers if scope["type"] == "http" else send)

    return headed


def _key_of(headers: Headers) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("X-API-Key", "").strip()


def _path(scope: Scope) -> str:
    """Below where the app is mounted."""
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", "")) or "/"
