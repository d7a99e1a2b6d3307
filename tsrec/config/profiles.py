"""Reading a configuration from a YAML profile and `section.field=value` overrides."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tsrec.config.base import LOCAL_PATH, anchored
from tsrec.config.root import Config
from tsrec.config.yaml_text import DuplicateKeyError, parse_yaml
from tsrec.errors import ConfigError

_NONE = ("", "~", "null", "Null", "NULL")


def load_config(profile: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Build the configuration of a run.

    Args:
        profile: a YAML file; without one, the defaults (the demo).
            Relative paths in it are relative to its folder.
        overrides: `section.field=value` strings. A value stays the text that was written, but that `null`, `~` and
            nothing mean none and that what begins like a YAML list, mapping or quotation (`[1, 2]`) is read as one.
            Relative paths in them are relative to the working directory.

    Raises:
        ConfigError: the file is missing or not YAML, a key stands twice, or a field is unknown, out of bounds or at
            odds with another.
    """
    values: dict[str, Any] = {}
    if profile is not None:
        path = Path(profile)
        values = {
            "profile": f"{path.absolute().parent.name}/{path.stem}",
            **anchored(read_sections(profile, "profile"), Config, path.parent),
        }
    return _validated(values, overrides, f"{profile}: " if profile is not None else "")


def with_overrides(config: Config, overrides: Iterable[str]) -> Config:
    """The configuration with some fields changed, as `load_config` changes them. Raises ConfigError."""
    return _validated(config.model_dump(mode="json"), overrides, "")


def anchored_override(override: str, folder: Path) -> str:
    """An override that a file in `folder` holds: relative paths in its value become absolute, as in a profile there.

    Raises:
        ConfigError: it is not of the form `section.field=value`.
    """
    values: dict[str, Any] = {}
    _apply(values, override)
    dotted, _, _ = override.partition("=")
    before, after = values, anchored(values, Config, folder)
    for name in dotted.strip().split("."):
        before, after = before[name], after[name]
    if before == after:
        return override
    return f"{dotted}={after if isinstance(after, str) else json.dumps(after)}"


def _validated(values: dict[str, Any], overrides: Iterable[str], where: str) -> Config:
    for override in overrides:
        _apply(values, override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise refusal(error, where) from None


def refusal(error: ValidationError, where: str, whole: str = "configuration") -> ConfigError:
    """What was refused, one line a problem: `where` in front, then the field, or `whole` where it is none."""
    return ConfigError(
        "\n".join(
            f"{where}{'.'.join(str(part) for part in problem['loc']) or whole}: {message}"
            for problem in error.errors()
            for message in problem["msg"].removeprefix("Value error, ").splitlines()
        )
    )


def read_sections(path: str | Path, kind: str) -> dict[str, Any]:
    """The sections that a YAML file holds; those without content are left out. `kind` is what a person calls it.

    Raises:
        ConfigError: it is missing, a URL or not YAML, or a key stands twice.
    """
    if problem := LOCAL_PATH.problem(str(path)):
        raise ConfigError(f"{kind} {path}: {problem}")
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such {kind}; see configs/ for those that ship with tsrec")
    try:
        values = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except DuplicateKeyError as error:
        raise ConfigError(f"{path}, {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections (ingest: ...), found a {type(values).__name__}")
    return {name: section for name, section in values.items() if section is not None}  # else all of it commented out


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"--set {override}: expected section.field=value, e.g. finetune.epochs=2")
    *sections, field = dotted.strip().split(".")
    target = values
    for section in sections:
        inner = target.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {section} is a value, not a section")
        target = inner
    try:
        target[field] = _read_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: value not readable as YAML: {error}") from None


def _read_value(text: str) -> Any:
    """YAML where it looks like more than one word; else what is written, `#` and `: ` included."""
    bare = text.strip(" ")  # a tab may be a separator
    if bare.startswith(("[", "{", '"', "'", "!")):
        return parse_yaml(bare)
    return None if bare in _NONE else bare
