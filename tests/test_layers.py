"""Packages import downwards alone, as `pyproject.toml` has the layers, and each stands in one of them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_import_runs_back_up() -> None:
    # In a process of its own: it silences the loggers of the one that it runs in.
    lint = [Path(sys.executable).with_name("lint-imports"), "--config", "pyproject.toml", "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_stands_in_a_layer() -> None:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        (contract,) = tomllib.load(stream)["tool"]["importlinter"]["contracts"]
    named = {room for layer in contract["layers"] for room in re.split(r"\s*\|\s*", layer)}
    rooms = {f"tsrec.{path.stem}" for path in (ROOT / "tsrec").iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert named == rooms | {"flows", "tasks"}
