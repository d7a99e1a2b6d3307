"""Which requests reach the Prefect server at all: none that another site's page sends, none that fills the memory.

A page of any site can point its own name at this machine (DNS rebinding), and then reads and writes here as if it were
the server's: a server that asks for no password has nothing else to know it by than the name. It can also send requests
to this machine's own name, blindly, and open websockets, which no rule of browsers keeps apart: those tell which site
they are from. Bodies are counted before anything here or in Prefect reads them whole.
"""

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.server import AUTH, is_loopback

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of one request: four times what Prefect sends at once (logs, in batches of 4,000,000 bytes)."""


def with_known_hosts(app: ASGIApp, listens_on: str, origins: Collection[str] = ()) -> ASGIApp:
    """`app`, for requests that name this machine alone: as loopback, or as `listens_on`, a name or an address.

    Where that is an address for all (0.0.0.0), every address counts, which no page can take for its own, and this
    machine's name. Pages of other sites than the server's own are refused, but for those of `origins`
    (`https://shop.example`; `*`: all).
    """

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        headers, refused = Headers(scope=scope), None
        if not _is_known(headers.get("Host", ""), listens_on):
            refused = PlainTextResponse(
                "This server asks for no password, so it answers only where it is called localhost or as it was told "
                "to listen. Use such an address, have a proxy send it as the Host header, or set "
                f"{AUTH}=USER:PASSWORD.\n",
                421,
            )
        elif _is_foreign(headers, origins):
            refused = PlainTextResponse(
                "This server asks for no password, so it answers no page of another site. Name that site in "
                f"PREFECT_SERVER_CORS_ALLOWED_ORIGINS, or set {AUTH}=USER:PASSWORD.\n",
                403,
            )
        await (refused or app)(scope, receive, send)

    return known


def with_bounded_bodies(app: ASGIApp, most_bytes: int = MAX_BODY_BYTES) -> ASGIApp:
    """`app`, and 413 in place of its answer to a request whose body has more bytes."""

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        n_bytes, started, refused = 0, False, False

        async def refuse() -> None:
            nonlocal refused
            refused = True
            await PlainTextResponse(f"a request has at most {most_bytes:,} bytes\n", 413)(scope, receive, send)

        async def receive_bounded() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > most_bytes:
                if not (started or refused):
                    await refuse()
                raise ValueError(f"the body of {scope['path']} has more than {most_bytes:,} bytes")
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal started
            if not refused:
                started = True
                await send(message)

        length = Headers(scope=scope).get("Content-Length", "")
        if length.isdecimal() and int(length) > most_bytes:
            await refuse()
            return
        try:
            await app(scope, receive_bounded, send_unless_refused)
        except Exception:
            if not refused:
                raise

    return bounded


def _is_foreign(headers: Headers, origins: Collection[str]) -> bool:
    """Whether a browser says that a page of another site sends this. Programs say nothing of the kind."""
    origin = headers.get("Origin")
    if origin is None or "*" in origins or origin.rstrip("/") in origins:
        return False
    if headers.get("Sec-Fetch-Site") == "same-origin":  # behind a proxy, which changes the Host; no page can say it
        return False
    return origin.partition("://")[2].lower() != headers.get("Host", "").lower()


def _is_known(host: str, listens_on: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if is_loopback(name) or name.endswith(".localhost") or name == listens_on.lower():
        return bool(name)
    try:
        if not ipaddress.ip_address(listens_on).is_unspecified:
            return False
    except ValueError:  # a name
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == socket.gethostname().lower()
    return True
