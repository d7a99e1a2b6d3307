"""Every command that `tsrec run` prints can be pasted into a shell, whatever users and items are called."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from flows import cli, commands

ROOT = Path(__file__).parents[2]
ITEM = "-i,'{number}' \"ß\" $(x)"


@pytest.fixture(scope="module")
def odd_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose ids begin with a dash and hold commas, blanks, quotes and what a shell would run."""
    folder = tmp_path_factory.mktemp("odd shop's data")
    items = [{"item_id": _item(number), "title": f"{number} {'glue' if number % 2 else 'saw'}"} for number in range(8)]
    events = [
        {"user_id": f'-U{user} \'n, "ü"; `x`', "item_id": _item((user + time) % 8), "timestamp": time}
        for user in range(12)
        for time in range(5)
    ]
    for name, rows in (("items", items), ("interactions", events)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def _item(number: int) -> str:
    return ITEM.format(number=number)


@pytest.fixture(scope="module")
def settings(odd_shop: Path, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    store = tmp_path_factory.mktemp("a store")
    fields = [f"store={store}", "dataset=odd", "ingest.source=tables", f"ingest.path={odd_shop}"]
    fields += [f"backbone.model={tiny_backbone}", "backbone.n_layers=1", "finetune.epochs=1"]
    return [part for field in fields for part in ("--set", field)]


@pytest.fixture(scope="module")
def printed(settings: list[str]) -> list[str]:
    """The lines under `try next`, as a shell run printed them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        command = shlex.join([*commands._program(), "run", *settings, "--no-prefect"])
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Loading weights" not in done.stderr and "model shards" not in done.stderr
    return [line.strip() for line in done.stdout.split("try next:\n")[1].splitlines() if line.strip()]


def test_what_is_printed_runs_in_a_shell(printed: list[str]) -> None:
    recommend, again, serve, api = printed
    done = subprocess.run(recommend, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[-i,'" in done.stdout
    assert shutil.which(shlex.split(recommend)[0])
    for line in (again, serve):
        words = shlex.split(line)
        options = cli._parser().parse_args(words[words.index("run" if line is again else "serve") :])
        assert options.set
    words = shlex.split(api)
    options = cli._parser().parse_args(words[words.index("api") :])
    assert options.dataset == "odd" and Path(options.store).is_dir()


@pytest.mark.parametrize("history", [json.dumps([_item(1), _item(2)]), json.dumps([_item(0)])])
def test_a_history_can_hold_any_id(
    printed: list[str], settings: list[str], history: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = shlex.join(["recommend", *settings, f"--history={history}", "-k", "3"])
    assert cli.main(shlex.split(line)) == 0
    shown = capsys.readouterr().out
    assert all(item in shown for item in json.loads(history))


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        ("a, b,c", ["a", "b", "c"]),
        ('["a,b", "-c", 7]', ["a,b", "-c", "7"]),
        ("[a],b", ["[a]", "b"]),
        ("[1, [2]]", ["[1", "[2]]"]),
        ("", []),
        ("[]", []),
    ],
)
def test_a_history_is_a_list_of_ids(written: str, ids: list[str]) -> None:
    options = cli._parser().parse_args(["recommend", f"--history={written}"])
    assert options.history == ids


def test_a_program_is_called_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "bin" / "tsrec"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(script)])
    assert commands._program() == ["./bin/tsrec"]
    monkeypatch.setenv("PATH", str(script.parent))
    assert commands._program() == ["tsrec"]
    monkeypatch.chdir("/")
    monkeypatch.setenv("PATH", "")
    assert commands._program() == [str(script)] or commands._program() == [f"./{script.relative_to('/')}"]
