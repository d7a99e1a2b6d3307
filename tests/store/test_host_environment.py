"""What manifests say of the machine, and how a run is told that it uses what other machines made."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.keys import key_of
from tsrec.store import Artifact, ArtifactStore
from tsrec.store.host_environment import warn_about_other_environments


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def _made(store: ArtifactStore, mark: str, without: tuple[str, ...] = (), **facts: Any) -> Artifact:
    """An artifact whose manifest says other things of its machine, or lacks some."""
    key = key_of("ingest", mark, "shop")
    path = store.build(key, lambda out: out.write_json("content", mark)).path / "manifest.json"
    content = json.loads(path.read_text())
    content["libraries"] |= facts.pop("libraries", {})
    kept = {name: value for name, value in (content | facts).items() if name not in without}
    path.write_text(json.dumps(kept))
    found = store.find(key)
    assert found
    return found


def test_a_manifest_holds_threads_processor_and_the_libraries_that_compute(store: ArtifactStore) -> None:
    manifest = _made(store, "a1").manifest
    assert manifest.threads == torch.get_num_threads()
    assert manifest.processor and manifest.processor.split()[0] == torch.backends.cpu.get_cpu_capability()
    flags = Path("/proc/cpuinfo").read_text().split()
    assert ("avx512_bf16" in manifest.processor.split()) == ("avx512_bf16" in flags)
    assert {"torch", "lightgbm", "scikit-learn", "scipy", "peft", "accelerate", "tokenizers"} <= set(manifest.libraries)


def test_what_was_made_otherwise_is_said_in_one_line(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    old_torch = {"torch": "1.13.1"}
    artifacts = [
        _made(store, "a1"),
        _made(store, "a2", libraries=old_torch),
        _made(store, "a3", libraries=old_torch, threads=96, processor="AVX2"),
    ]
    here = artifacts[0].manifest
    warn_about_other_environments(artifacts)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("2 of 3 artifacts of this run were made with other libraries")
    assert f"torch 1.13.1 (here {here.libraries['torch']})" in line
    assert f"threads 96 (here {here.threads})" in line and f"processor AVX2 (here {here.processor})" in line
    assert "numpy" not in line


def test_nothing_is_said_of_what_was_made_alike_or_before_it_was_written_down(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alike = _made(store, "a1", host="elsewhere", libraries={"tsrec": "0.0.1"})
    old = _made(store, "a2", without=("threads", "processor"))
    assert (old.manifest.threads, old.manifest.processor) == (None, None)
    warn_about_other_environments([alike, old])
    assert caplog.text == ""
