"""The processes that `tsrec serve` starts: they end when it does, even when it was killed.

`python -m flows.child_process PARENT run` executes the flow run that the environment names.
`... PARENT server HOST PORT` is the Prefect server.
"""

import runpy
import sys

from tsrec.machine.parent_process import end_with_parent

_GRACE_S = 8.0


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
    end_with_parent(int(sys.argv[1]), group_grace_s=_GRACE_S)  # `tsrec serve` gives each child a session of its own
    if sys.argv[2] == "server":
        _serve(sys.argv[3], int(sys.argv[4]))
        return
    del sys.argv[1:]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
