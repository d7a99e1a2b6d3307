"""`compose.yaml` as Compose reads it: with the variables of the environment in their places."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")


def compose_text() -> str:
    return (ROOT / "compose.yaml").read_text(encoding="utf-8")


def interpolated(text: str, variables: dict[str, str]) -> dict[str, Any]:
    """The file's content. Raises KeyError for a variable that must be given and is not."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        return variables.get(name, rest) if kind == "-" else variables[name]

    content: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, text).replace("$$", "$"))
    return content
