"""Tiny real things that several packages' tests share."""

import os
from pathlib import Path

import pytest

# Before torch is imported: tests that share the cores with other tests take one each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.tiny_shop import settings_of, write_backbone, write_shop


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a real Llama of two layers (hidden 32, 2 heads, float32) with a byte-level BPE tokenizer."""
    folder = tmp_path_factory.mktemp("tiny_backbone")
    write_backbone(folder)
    return folder


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 48 items, one of them hostile, and 60 users who stay within one kind of item, but for one event of
    an item that the shop no longer has."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    return folder


@pytest.fixture(scope="session")
def shop_settings(shop: Path, tiny_backbone: Path) -> list[str]:
    """Overrides that run the whole pipeline on the shop within seconds."""
    return settings_of(shop, tiny_backbone)
