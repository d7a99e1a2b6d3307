"""A real PostgreSQL on loopback, from the programs that Debian's package brings."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "prefect"


@dataclass
class Database:
    """An empty database `name` of `USER`, and how to reach it."""

    host: str
    port: int
    name: str
    password: str


def postgres_programs() -> Path | None:
    """Folder of initdb and postgres; None where PostgreSQL's server is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "postgres").exists()), None)


@contextmanager
def serve_postgres(port: int, password: str) -> Iterator[Database]:
    """A cluster in a temporary folder, until the end of the block."""
    programs = postgres_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="tsrec-postgres-"))
    # It refuses to run as root.
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    try:
        (folder / "password").write_text(password)
        for path in (folder, folder / "password"):
            if who:
                os.chown(path, who["user"], who["group"])
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            **who,
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"],
                cwd=folder,
                stdout=log,
                stderr=log,
                **who,
            )
        try:
            _create(programs, port, password, folder / "log")
            yield Database("127.0.0.1", port, "prefect", password)
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder)


def _create(programs: Path, port: int, password: str, log: Path) -> None:
    """Make the database, once the server answers."""
    command = [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", USER, "prefect"]
    for _ in range(120):
        done = subprocess.run(command, env=os.environ | {"PGPASSWORD": password}, capture_output=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.25)
    raise AssertionError(f"{done.stderr.decode()}\n{log.read_text()}")
