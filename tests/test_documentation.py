"""What README.md and docs/ tell people to type is there: commands, make targets, settings, files and links."""

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from flows import cli
from tsrec.config import load_config, load_grid

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ENVIRONMENT = re.compile(r"[A-Z_]+=")

# Rows of results keep the settings and files of their day; the first page of them names the commit that has all.
CURRENT = [page for page in PAGES if page.parent.name != "results"]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
each_current_page = pytest.mark.parametrize("page", CURRENT, ids=lambda page: str(page.relative_to(ROOT)))


def _settings_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_page", ROOT / "docs" / "settings_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SETTINGS = _settings_page().page()
NAMES = re.findall(r"^\| `([\w.\[\]]+)`", SETTINGS, re.MULTILINE)


def _commands(page: Path, program: str) -> Iterator[list[str]]:
    """The words after `program` of each call of it, in blocks of commands and in spans of code."""
    text = page.read_text(encoding="utf-8")
    lines = [line for _, kind, block in BLOCK.findall(text) if not kind for line in _joined(block)]
    for line in [*lines, *SPAN.findall(BLOCK.sub("", text))]:
        if program not in line:
            continue
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and ENVIRONMENT.match(words[0]):
            del words[0]
        if words and Path(words[0]).name == program:
            yield words[1:]


def _joined(block: str) -> list[str]:
    return block.replace("\\\n", " ").splitlines()


def _is_understood(words: list[str]) -> bool:
    """Whether the parser takes the words; those of a command alone may leave its arguments out (`tsrec ablation`)."""
    try:
        cli._parser().parse_args(words)
    except SystemExit as error:
        if error.code == 0:
            return True
        if any(word.startswith("-") for word in words):
            return False
    else:
        return True
    with pytest.raises(SystemExit) as help_shown:
        cli._parser().parse_args([*words, "--help"])
    return help_shown.value.code == 0


@each_page
def test_commands_are_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in _commands(page, "tsrec"):
        assert _is_understood(words), f"tsrec {shlex.join(words)}: {capsys.readouterr().err}"


def test_commands_are_found_in_the_pages() -> None:
    assert len([words for page in PAGES for words in _commands(page, "tsrec")]) > 40


def test_a_wrong_command_is_not_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert not _is_understood(["run", "shop.yaml", "--sets", "a=1"])
    assert not _is_understood(["rune", "shop.yaml"])
    assert _is_understood(["ablation"])
    assert "unrecognized arguments" in capsys.readouterr().err


@each_current_page
def test_settings_of_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for field in re.findall(r"--set ['\"]?([\w.]+)=", text):
        assert field in NAMES or any(name.startswith(f"{field}.") for name in NAMES), field


@each_page
def test_make_targets_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in _commands(page, "make"):
        assert set(words[:1]) <= set(targets), f"make {shlex.join(words)}"


def test_every_make_target_has_a_line_of_help() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert re.findall(r"^([a-z-]+):.*  ## \w", text, re.MULTILINE) == phony.split()


@each_current_page
def test_files_variables_and_extras_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for file in re.findall(r"(?<![\w./-])((?:configs|benchmarks|docs|tests|flows|tasks)/[\w./-]*\w)", text):
        assert (ROOT / file).exists(), file
    sources = [ROOT / "compose.yaml", *(path for name in ("flows", "tasks", "tsrec") for path in _sources(name))]
    known = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for variable in set(re.findall(r"\bTSREC_[A-Z_]+\b", text)):
        assert variable in known, variable

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"'\.\[([\w-]+)\]'", text)) <= set(extras)


def _sources(name: str) -> list[Path]:
    return sorted((ROOT / name).rglob("*.py"))


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists() or file == ROOT / "docs" / "settings.md", target
        assert not anchor or anchor in _anchors(file), target


def _anchors(file: Path) -> set[str]:
    """Of headings, as MkDocs and GitHub name them, and of what the API reference documents."""
    text = file.read_text(encoding="utf-8") if file.exists() else SETTINGS
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
    return slugs | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


@each_page
def test_profiles_and_grids_can_be_read(page: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text("dataset: shop\n")
    for _, kind, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind != "yaml":
            continue
        file = tmp_path / "page.yaml"
        file.write_text(block, encoding="utf-8")
        if "variants:" in block:
            load_grid(str(file))
        else:
            load_config(str(file))


def test_the_page_of_settings_has_each_with_its_default_and_meaning() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert "| `finetune.label_smoothing` | `0.0` | Share of each SID label" in SETTINGS
    assert "| `sids.codes_per_level` | `[256, 256, 256]` | Codes" in SETTINGS
    assert "| `store` † | `artifacts` |" in SETTINGS
    assert "| `members.llms[].name` | required |" in SETTINGS
    assert "| `ingest.path` † | empty |" in SETTINGS
    rows = [line.split(" | ") for line in SETTINGS.splitlines() if line.startswith("| `")]
    assert all(len(row) == 3 and len(row[2]) > 10 for row in rows)
