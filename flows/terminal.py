"""What the command line prints, on terminals that cannot show everything and into pipes that nobody reads any more."""

import contextlib
import errno
import io
import json
import os
import select
import sys
from collections.abc import Callable
from typing import Any, TextIO

CLOSED_PIPE = 141
"""Exit status where the reader of stdout or stderr has gone: 128 + SIGPIPE, as shells know it."""


def replace_unshowable() -> None:
    """Have characters that the encoding of the terminal lacks replaced, where they would end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")


def quiet_without_reader(main: Callable[[], int]) -> int:
    """What `main` returns; `CLOSED_PIPE`, without a traceback, where what it prints is read no more (`| head`)."""
    try:
        try:
            return main()
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()  # here, and not when the interpreter ends, which tells of it
    except BrokenPipeError:
        if not _discard_unread():
            raise  # another pipe
        return CLOSED_PIPE
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise  # not of a stream
        _lead_nowhere(sys.stdout)
        with contextlib.suppress(OSError):
            print("tsrec: what it prints cannot be written: no space is left there", file=sys.stderr, flush=True)
        return 1


def print_json(value: Any) -> None:
    """One line of JSON, readable where the terminal shows it and escaped where it would be replaced."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    print(text)


def _discard_unread() -> bool:
    """Lead streams without a reader nowhere, so that the interpreter's last flush is quiet; whether there was one."""
    found = False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _is_unread(stream.fileno()):
            _lead_nowhere(stream)
            found = True
    return found


def _lead_nowhere(stream: TextIO | None) -> None:
    if isinstance(stream, io.TextIOWrapper):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _is_unread(descriptor: int) -> bool:
    """Whether it is a pipe whose reader has gone."""
    look = select.poll()
    look.register(descriptor, select.POLLOUT)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in look.poll(0))
