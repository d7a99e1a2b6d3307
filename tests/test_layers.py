"""Rooms import downwards alone, as `pyproject.toml` has the layers, and each room stands in one of them."""

import re
import tomllib
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]


def test_no_import_runs_back_up() -> None:
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True) == 0


def test_every_room_stands_in_a_layer() -> None:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        (contract,) = tomllib.load(stream)["tool"]["importlinter"]["contracts"]
    named = {room for layer in contract["layers"] for room in re.split(r"\s*\|\s*", layer)}
    rooms = {f"tsrec.{path.stem}" for path in (ROOT / "tsrec").iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert named == rooms | {"flows", "tasks"}
