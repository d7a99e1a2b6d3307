"""What one of two machines does that build the same artifact at once; tests run it in processes of its own."""

import os
from pathlib import Path
from typing import Any

import s3fs  # noqa: F401  (imported by the fork server, once for all)

from tsrec.store import ArtifactStore, ArtifactWriter

from .conftest import key_of


def build(url: str, name: str, variables: dict[str, str], barrier: Any) -> None:
    """Build with files that name their machine, and write down what the store gave back."""
    os.environ.update(variables)

    def make(out: ArtifactWriter) -> None:
        out.write_json("who", name)
        out.write_json("again", name)
        barrier.wait(timeout=60)

    artifact = ArtifactStore(url).build(key_of(), make)
    artifact.verify()
    seen = f"{artifact.json('who')} {artifact.json('again')}"
    Path(variables["HOME"], "seen.txt").write_text(seen)
