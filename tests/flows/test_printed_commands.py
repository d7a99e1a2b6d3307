"""Every command that `tsrec run` prints can be pasted into a shell, whatever users and items are called."""

import contextlib
import io
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from flows import cli, commands

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
    fields += ["members.methods=[popular]", "evaluate.baseline=popular"]
    return [part for field in fields for part in ("--set", field)]


@pytest.fixture(scope="module")
def printed(settings: list[str]) -> list[str]:
    """The lines under `try next`, as a run printed them."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main(["run", *settings, "--no-prefect"]) == 0
    assert "Loading weights" not in err.getvalue() and "model shards" not in err.getvalue()
    return [line.strip() for line in out.getvalue().split("try next:\n")[1].splitlines() if line.strip()]


def _as_the_shell_reads_it(line: str) -> list[str]:
    done = subprocess.run(f"printf '%s\\0' {line}", shell=True, capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def test_what_is_printed_runs_in_a_shell(printed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    recommend, again, serve, api = map(_as_the_shell_reads_it, printed)
    assert shutil.which(recommend[0])
    assert cli.main(recommend[recommend.index("recommend") :]) == 0
    assert "[-i,'" in capsys.readouterr().out
    for words, command in ((again, "run"), (serve, "serve")):
        assert cli._parser().parse_args(words[words.index(command) :]).set
    options = cli._parser().parse_args(api[api.index("api") :])
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
    script = tmp_path / "tsrec"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(script)])
    assert commands._program() == [str(script)]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commands._program() == ["tsrec"]
