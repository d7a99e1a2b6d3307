"""The processes that `tsrec serve` starts: they end when it does, even when it was killed.

`python -m flows.child_process PARENT run` executes the flow run that the environment names.
`... PARENT server HOST PORT` is the Prefect server.
"""

import os
import runpy
import signal
import sys
import threading
import time

_POLL_EVERY_S = 1.0
_GRACE_S = 8.0


def end_with_parent(parent: int) -> None:
    """From now on a lost parent is a SIGTERM to this process, and after a few seconds SIGKILL to its whole group."""
    threading.Thread(target=_wait_for_parent_end, args=(parent,), name="end-with-parent", daemon=True).start()


def _wait_for_parent_end(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)  # its own group: `tsrec serve` starts each child in a session of its own


def _serve(host: str, port: int) -> None:
    import uvicorn

    uvicorn.run(
        "flows.ui_server:create_app",
        factory=True,
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=2,  # browsers keep their connections open
    )


def main() -> None:
    """Entry point."""
    end_with_parent(int(sys.argv[1]))
    if sys.argv[2] == "server":
        _serve(sys.argv[3], int(sys.argv[4]))
        return
    del sys.argv[1:]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
