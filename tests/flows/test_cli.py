"""The command line: what it prints, and its exit status."""

import json
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import main
from tests.keys import key_of
from tsrec import __version__
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
        (["run", "--set", "finetune.device=cuda:99"], "finetune.device: device 'cuda:99': torch sees"),
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


def test_recommending_before_a_run_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--history", "1", "--set", f"store={tmp_path}"]) == 1
    assert "`tsrec run` first" in capsys.readouterr().err
