"""Runs the ingest stage on raw files that a test writes."""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.keys import key_of
from tsrec.config import IngestConfig
from tsrec.data import STAGE
from tsrec.store import Artifact, ArtifactStore, base_role

HEADER = "user_id,item_id,timestamp\n"
ITEMS = "item_id,title\na,Glue\nb,Wire\nc,Oil\n"
EVENTS = HEADER + "".join(f"u,{item},{time}\n" for time, item in enumerate("abca"))

Ingest = Callable[..., Artifact]
Files = dict[str, str | bytes]


def with_log(content: str | bytes, name: str = "interactions.csv") -> Files:
    """Three items, and this log."""
    return {"items.csv": ITEMS, name: content}


def with_items(content: str | bytes, name: str = "items.csv") -> Files:
    """These items, and four events of one user."""
    return {name: content, "interactions.csv": EVENTS}


def parquet(columns: Any) -> bytes:
    """A Parquet file of a table, or of what pandas makes one of."""
    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer)
    return buffer.getvalue()


def json_lines(rows: Iterable[Any]) -> str:
    """A line of JSON for each."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def run_ingest(config: IngestConfig, store: Path, base: Artifact | None = None) -> Artifact:
    """Build the artifact as the pipeline does, raw inputs and all; a refresh has a `base`."""
    STAGE.raw_inputs(config)
    bases = {} if base is None else {base_role(STAGE.name): base}
    return ArtifactStore(store).build(key_of(STAGE.name), lambda writer: STAGE.run(config, bases, writer))


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    """Write raw files (by default three items and one user of four events), run the stage on them. Every call has a
    store of its own; files of earlier calls stay."""
    stores = (tmp_path / f"store-{number}" for number in count())

    def write_and_run(
        files: Mapping[str, str | bytes] | None = None, base: Artifact | None = None, **config: Any
    ) -> Artifact:
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        for name, content in ({"items.csv": ITEMS, "interactions.csv": EVENTS} if files is None else files).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return run_ingest(IngestConfig(**{"source": "tables", "path": str(folder), **config}), next(stores), base)

    return write_and_run
