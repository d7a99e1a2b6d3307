"""Which requests reach a server of ours at all: none that another site's page sends, none that fills the memory.

A site can point its own name at this machine (DNS rebinding). Its pages then read and write here as if they were the
server's, and a server that asks for no password can tell them only by that name. Pages of other sites can also send
requests to this machine's own name and open websockets. Browsers allow that, but say which site they come from. Bodies
are counted before an app reads them whole. Knows nothing of the apps behind it.
"""

import ipaddress
import socket
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tsrec.machine.addresses import is_loopback

Refuse = Callable[[int, str], ASGIApp]
"""The answer that refuses a request, of its status and why."""


def _in_plain_text(status: int, why: str) -> ASGIApp:
    return PlainTextResponse(f"{why}\n", status)


def with_known_hosts(
    app: ASGIApp,
    listens_on: str,
    remedy: str,
    *,
    origins: Collection[str] = (),
    origins_remedy: str = "",
    refuse: Refuse = _in_plain_text,
) -> ASGIApp:
    """`app`, for requests that name this machine alone: as loopback, or as `listens_on`.

    Args:
        app: asks for no password.
        listens_on: a name or an address. Where that is one for all (0.0.0.0), every address counts, which no page can
            take for its own, and this machine's name.
        remedy: how to have a password asked for, for messages.
        origins: sites (`https://shop.example`; `*`: all) whose pages are answered beside the server's own.
        origins_remedy: the same for pages of other sites; empty: the same words.
        refuse: makes the answers 421 and 403.
    """

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        headers, refused = Headers(scope=scope), None
        if not _is_known(headers.get("Host", ""), listens_on):
            refused = refuse(
                421,
                "This server asks for no password, so it answers only where it is called localhost or as it was told "
                f"to listen. Use such an address, have a proxy send it as the Host header, or {remedy}.",
            )
        elif _is_foreign(headers, origins):
            why = "This server asks for no password, so it answers no page of another site."
            refused = refuse(403, f"{why} To change that, {origins_remedy or remedy}.")
        await (refused or app)(scope, receive, send)

    return known


def with_bounded_bodies(app: ASGIApp, most_bytes: int, *, refuse: Refuse = _in_plain_text) -> ASGIApp:
    """`app`, and 413 in place of its answer to a request whose body has more bytes."""

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        n_bytes, started, refused = 0, False, False

        async def refuse_it() -> None:
            nonlocal refused
            refused = True
            await refuse(413, f"a request has at most {most_bytes:,} bytes")(scope, receive, send)

        async def receive_bounded() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > most_bytes:
                if not (started or refused):
                    await refuse_it()
                raise ValueError(f"the body of {scope['path']} has more than {most_bytes:,} bytes")
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal started
            if not refused:
                started = True
                await send(message)

        length = Headers(scope=scope).get("Content-Length", "")
        if length.isdecimal() and int(length) > most_bytes:
            await refuse_it()
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
