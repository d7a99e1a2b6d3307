"""A shop in a folder of its own, which may grow."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def growing(shop: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shop, tmp_path / "data"))
