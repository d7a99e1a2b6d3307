"""A disk that is full or cannot be written to is said in one line with the path; afterwards the same call goes on."""

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from flows.cli import main
from tsrec.errors import ArtifactError
from tsrec.store import ArtifactStore, ArtifactWriter
from tsrec.store.champions import promote
from tsrec.store.work_files import write_whole

from .conftest import key_of

BIG = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one mebibyte of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or not _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)):
        pytest.skip("mounting a small disk wants root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)  # whatever forked meanwhile may hold it for a moment


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def _table(out: ArtifactWriter) -> None:
    out.write_table("t", pd.DataFrame({"x": np.random.default_rng(0).random(BIG // 8)}))


def _safetensors(out: ArtifactWriter) -> None:
    save_file({"x": np.zeros(BIG, np.uint8)}, out.path / "x.safetensors")


def _torch(out: ArtifactWriter) -> None:
    torch.save({"x": torch.zeros(BIG, dtype=torch.uint8)}, out.work / "optimizer.pt")
    out.write_json("done", True)


def _text(out: ArtifactWriter) -> None:
    write_whole(out.path / "x.txt", lambda path: path.write_text("x" * BIG))


WRITERS = pytest.mark.parametrize("make", [_table, _safetensors, _torch, _text], ids=lambda make: make.__name__[1:])


@WRITERS
def test_a_full_disk(small_disk: Path, make: Callable[[ArtifactWriter], None]) -> None:
    store = ArtifactStore(small_disk / "store")
    with pytest.raises(
        ArtifactError, match=r"(?s)^[^\n]*/disk/store[^\n]*: no space left; [^\n]*same command again[^\n]*$"
    ):
        store.build(key_of(), make)
    assert store.find(key_of()) is None
    assert _mount("-o", "remount,size=20m", str(small_disk))
    assert store.build(key_of(), make).manifest.files


@WRITERS
def test_a_file_that_would_be_too_large(tmp_path: Path, make: Callable[[ArtifactWriter], None]) -> None:
    store = ArtifactStore(tmp_path / "store")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BIG // 4, hard))
    try:
        if make is _torch:  # which does not say why
            with pytest.raises(RuntimeError):
                store.build(key_of(), make)
        else:
            with pytest.raises(ArtifactError, match=r"/store.*: larger than a file may be here"):
                store.build(key_of(), make)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert store.build(key_of(), make).manifest.files


def test_a_store_that_can_only_be_read(small_disk: Path) -> None:
    store = ArtifactStore(small_disk / "store")
    built = store.build(key_of(), lambda out: out.write_json("x", 1))
    assert _mount("-o", "remount,ro", str(small_disk))
    assert store.find(key_of()) is not None, "reading goes on"
    for write in (
        lambda: store.build(key_of("ffff"), _text),
        lambda: promote(store, "shop", built.fingerprint, "by hand", {}),
    ):
        with pytest.raises(ArtifactError, match=r"/disk/store.*: can only be read; make it writable, or name another"):
            write()
    assert _mount("-o", "remount,rw", str(small_disk))
    store.build(key_of("ffff"), lambda out: out.write_json("x", 1))


def test_what_a_stage_may_not_read_is_not_blamed_on_the_store(tmp_path: Path) -> None:
    def make(out: ArtifactWriter) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "data.csv"))

    with pytest.raises(PermissionError):
        ArtifactStore(tmp_path / "store").build(key_of(), make)


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(
    small_disk: Path, shop_settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["members.methods=[popular]", "evaluate.baseline=popular", "finetune.epochs=1", "decode.beams=10"]
    settings = [*shop_settings, *few, f"store={small_disk / 'store'}"]
    command = ["run", "--no-prefect", *(part for setting in settings for part in ("--set", setting))]
    assert _mount("-o", "remount,size=200k", str(small_disk))
    assert main(command) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tsrec:")]
    assert f"tsrec: {small_disk / 'store'}" in line and "no space left" in line
    finished = {artifact.path for artifact in ArtifactStore(small_disk / "store").list()}
    assert finished, "the small stages were done"
    assert _mount("-o", "remount,size=60m", str(small_disk))
    assert main(command) == 0
    assert finished < {artifact.path for artifact in ArtifactStore(small_disk / "store").list()}
