"""Tiny real things that several packages' tests share; what takes long is made once a test run, or once a process."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

# Before torch is imported: tests that share the cores with other tests take one each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.tiny_shop import settings_of, write_backbone, write_shop
from tsrec import pipeline
from tsrec.config import Config, load_config
from tsrec.store import Artifact

# How long an example takes says nothing where both cores are busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# With `--dist loadfile --no-loadscope-reorder` files are handed out in this order. A long one that comes last leaves
# the other processes with nothing to do.
LONGEST = (
    "tests/flows/test_serving.py",
    "tests/refresh/",
    "tests/ablation/test_ablation.py",
    "tests/flows/",
    "tests/tasks/",
    "tests/finetune/",
    "tests/recommenders/",
    "tests/pipeline/",
    "tests/training/",
    "tests/store/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first."""
    items.sort(
        key=lambda item: next((n for n, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))
    )


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def _made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """`folder`, filled by the first process that asks for it; the others wait."""
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def tiny_backbone(shared: Path) -> Path:
    """Folder of a real Llama of two layers (hidden 32, 2 heads, float32) with a byte-level BPE tokenizer."""
    return _made_once(shared / "tiny_backbone", write_backbone)


@pytest.fixture(scope="session")
def shop(shared: Path) -> Path:
    """A folder with 48 items, one of them hostile, and 60 users who stay within one kind of item, but for one event of
    an item that the shop no longer has."""
    return _made_once(shared / "shop", write_shop)


@pytest.fixture(scope="session")
def shop_settings(shop: Path, tiny_backbone: Path) -> list[str]:
    """Overrides that run the whole pipeline on the shop within seconds."""
    return settings_of(shop, tiny_backbone)


@pytest.fixture(scope="session")
def finished_store(shared: Path, shop_settings: list[str]) -> Path:
    """The store of a finished run on the shop, to be read and copied, and never written to."""
    return _made_once(
        shared / "finished", lambda folder: pipeline.run(load_config(None, [*shop_settings, f"store={folder}"]))
    )


@pytest.fixture(scope="module")
def config(shop_settings: list[str], finished_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A finished run on the shop, in a store of this module's own."""
    store = shutil.copytree(finished_store, tmp_path_factory.mktemp("shop") / "store")
    return load_config(None, [*shop_settings, f"store={store}"])


@pytest.fixture(scope="module")
def artifacts(config: Config) -> dict[str, Artifact]:
    """What that run made, by stage."""
    return pipeline.run(config)


@pytest.fixture(scope="session")
def _prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server, one a process: it takes seconds to start."""
    from tests.flows.prefect_process import own_home, serve_api

    folder = tmp_path_factory.mktemp("prefect")
    environment = own_home(folder)
    with serve_api(environment, folder):
        yield environment["PREFECT_API_URL"]


@pytest.fixture
def prefect_server(_prefect_url: str) -> Iterator[None]:
    """Flows of this test are told to that server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: _prefect_url}):
        yield
