from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests import keys
from tsrec.store import ArtifactKey, ArtifactStore, ArtifactWriter

FRAME = pd.DataFrame({"item_id": ["a", "b", "c"], "score": [1.0, 2.0, 3.0]})


def key_of(fingerprint: str = "0123456789abcdef", stage: str = "ingest") -> ArtifactKey:
    return keys.key_of(stage, fingerprint, "shop")


class Maker:
    """Writes a table, a JSON and a file in a folder; counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, out: ArtifactWriter) -> None:
        self.calls += 1
        (out.work / "shard.txt").write_text("half done")
        out.write_table("items", FRAME)
        out.write_json("space", {"sizes": [4, 4]})
        (out.directory("model") / "weights.bin").write_bytes(bytes(range(256)))
        out.count(n_dropped=2)


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def flip_byte() -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return flip
