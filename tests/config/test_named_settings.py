"""Every setting that a message, a description or a page names exists: fields move, and words about them do not."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from tsrec.config import Config

ROOT = Path(__file__).parents[2]
FILES = [
    *(path for name in ("tsrec", "flows", "tasks") for path in sorted((ROOT / name).rglob("*.py"))),
    ROOT / "README.md",
    # Rows of results keep the settings of their day; the first page of them names the commit that has all.
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "results"),
]
# A name that stands behind an opening (a quote, a blank, a bracket) and is no call, module or file.
NAMED = re.compile(rf"(?<![\w./-])({'|'.join(Config.model_fields)})((?:\.[a-z][a-z_]*)+)(?![\w(/-])")
FILE_ENDINGS = ("py", "json", "parquet", "yaml", "html", "safetensors")


def _inner(kind: type[BaseModel] | None, field: str) -> tuple[bool, type[BaseModel] | None]:
    if kind is None or field not in kind.model_fields:
        return False, None
    found = kind.model_fields[field].annotation
    return True, found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _exists(names: list[str]) -> bool:
    kind: type[BaseModel] | None = Config
    for name in names:
        there, kind = _inner(kind, name)
        if not there:
            return False
    return True


def _words(path: Path) -> Iterator[str]:
    """What people read: string literals of code, what is put in aside, and names that stand in a page."""
    text = re.sub(r"\{[^{}\n]*\}", "", path.read_text()) if path.suffix == ".py" else path.read_text()
    yield from re.findall(r'"[^"\n]*"', text) if path.suffix == ".py" else re.findall(r"`[^`\n]+`", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_that_are_named_exist(path: Path) -> None:
    for words in _words(path):
        for section, rest in NAMED.findall(words):
            fields = rest.removeprefix(".").split(".")
            if fields[-1] not in FILE_ENDINGS:
                assert _exists([section, *fields]), f"{section}{rest} in {words}"
