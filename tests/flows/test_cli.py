"""The command line: what it prints, and its exit status."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import main
from flows.commands import _known
from flows.terminal import CLOSED_PIPE, print_json
from tests.keys import key_of
from tests.recommenders.conftest import catalogue_of, fitted, histories_of
from tsrec import __version__
from tsrec.config import load_config
from tsrec.errors import ConfigError
from tsrec.recommenders.recommender import Recommender
from tsrec.store import Artifact, ArtifactStore


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    key = key_of("ingest", "abc123", "shop")
    return ArtifactStore(tmp_path).build(key, lambda writer: writer.write_json("content", [1]))


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--version", "--help"):
        with pytest.raises(SystemExit) as end:
            main([option])
        assert end.value.code == 0
    printed = capsys.readouterr().out
    assert f"tsrec {__version__}" in printed
    assert "examples:" in printed


def test_list_and_show(artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["artifacts", "list", "--store", str(tmp_path)]) == 0
    assert "abc123  shop" in capsys.readouterr().out
    assert main(["artifacts", "show", "abc", "--store", str(tmp_path)]) == 0
    _, text = capsys.readouterr().out.split("\n", 1)
    assert json.loads(text)["key"]["fingerprint"] == "abc123"


def test_verify_names_the_corrupt_file_and_fails(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["artifacts", "verify", "--store", str(tmp_path)]) == 0
    artifact.file("content.json").write_text("[2]")
    assert main(["artifacts", "verify", "--store", str(tmp_path)]) == 1
    assert "content.json: does not match the hash" in capsys.readouterr().out


def test_gc_dry_run_only_says_what_would_go(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leftover = tmp_path / "shop" / "embed" / "e1.partial"
    leftover.mkdir(parents=True)
    assert main(["artifacts", "gc", "--dry-run", "--store", str(tmp_path)]) == 0
    assert "would remove shop/embed/e1.partial" in capsys.readouterr().out
    assert leftover.exists()
    assert main(["artifacts", "gc", "--store", str(tmp_path)]) == 0
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such profile"),
        (["run", "--set", "finetune.epoch=2"], "did you mean 'epochs'?"),
        (["run", "--set", "finetune.epochs=-1"], "finetune.epochs"),
        (["run", "--set", "ingest.source=tables", "--set", "ingest.path=/nowhere"], "/nowhere: no such folder"),
        (["run", "--set", "device=cuda:99"], "device 'cuda:99': torch sees"),
        (["recommend", "--history", "1"], "`tsrec run` first"),
        (["recommend", "--history", "1", "-k", "0"], "recommend, k: Input should be greater than or equal to 1"),
        (["recommend", "--history", "1", "-k", "10001"], "recommend, k: Input should be less than or equal to 10000"),
        (["artifacts", "show", "ff", "--store", "."], "no artifact"),
        (["artifacts", "list", "--store", "nowhere"], "no such folder"),
    ],
)
def test_deliberate_errors_are_one_message_and_status_1(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("tsrec: ")
    assert error.count(message) == 1  # once, and nothing of Prefect around it
    assert len(error.splitlines()) == 1


def test_a_prefect_server_that_does_not_answer_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with temporary_settings({PREFECT_API_URL: "http://me:secret@127.0.0.1:9/api"}):
        assert main(["run", "--set", f"store={tmp_path}"]) == 1
    error = capsys.readouterr().err
    assert "http://***@127.0.0.1:9/api, which does not answer" in error
    assert len(error.splitlines()) == 1


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (["artifacts", "list", "--store", "."], ""),
        (["artifacts", "show", "abc", "--store", "."], "1"),
        (["--help"], ""),
    ],
)
def test_output_that_nobody_reads_ends_quietly(
    arguments: list[str], unbuffered: str, artifact: Artifact, tmp_path: Path
) -> None:
    assert artifact.path.is_relative_to(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` does once it has its lines
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, b"")


def test_what_a_terminal_cannot_show_is_replaced(tmp_path: Path) -> None:
    store = tmp_path / "größe"
    ArtifactStore(store).build(key_of("ingest", "abc123", "shop"), lambda writer: writer.write_json("content", [1]))
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "artifacts", "show", "abc", "--store", str(store)],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"/gr??e/shop/ingest/abc123" in done.stdout


def test_json_is_escaped_where_it_would_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, written in (("ascii", b'["gr\\u00f6\\u00dfe"]\n'), ("utf-8", '["größe"]\n'.encode())):
        stdout = io.TextIOWrapper(buffer := io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        print_json(["größe"])
        stdout.flush()
        assert buffer.getvalue() == written


def test_unknown_items_of_a_history_are_named_and_the_others_count(capsys: pytest.CaptureFixture[str]) -> None:
    histories = histories_of({"u": [(0, "train"), (1, "train")]}, 3)
    recommender = Recommender("popular", fitted("popular", histories, 3), catalogue_of(histories, 3), "allowed")
    config = load_config(None, ["dataset=shop"])
    assert _known(["i01", "x", "i00", "y", "x"], recommender, config) == ["i01", "i00"]
    assert "the catalogue of shop lacks 2 of 4 items of the history: 'x', 'y'; the others" in capsys.readouterr().err
    assert _known(["i01"], recommender, config) == ["i01"] and _known([], recommender, config) == []
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match=r"lacks 7 of 7 .*'a', 'b', 'c', 'd', 'e' \.\.\.; ids are .* e\.g\. i00"):
        _known(list("abcdefg"), recommender, config)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_behind_the_output_is_one_line(artifact: Artifact) -> None:
    store = artifact.path.parents[2]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", "artifacts", "list", "--store", str(store)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "no space is left" in done.stderr


@pytest.mark.parametrize("option", ["--port=99999", "--port=0", "--port=x", "--limit=0", "--limit=x"])
def test_numbers_of_serve_are_checked_at_once(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", option])
    assert "no port: a whole number from 1 to" in (said := capsys.readouterr().err) or "no whole number of at" in said
