"""Reading a configuration from a YAML profile and `section.field=value` overrides."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tsrec.config.root import Config
from tsrec.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML without its dates: 2024-01-31 stays the text that was written."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the base class declares it so)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_config(profile: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Build the configuration of a run.

    Args:
        profile: a YAML file; without one, the defaults (the demo).
        overrides: `section.field=value` strings; values are read as YAML, so `1e-3`, `null` and `[1, 2]` work.

    Raises:
        ConfigError: the file is missing or not YAML, or a field is unknown or out of bounds.
    """
    values: dict[str, Any] = {}
    if profile is not None:
        path = Path(profile)
        values = {"profile": f"{path.absolute().parent.name}/{path.stem}", **_read_profile(path)}
    for override in overrides:
        _apply(values, override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        where = f"{profile}: " if profile is not None else ""
        lines = [
            f"{where}{'.'.join(str(part) for part in problem['loc']) or 'configuration'}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from None


def _read_profile(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such profile; see configs/ for those that ship with tsrec")
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections (ingest: ...), found a {type(values).__name__}")
    return {name: section for name, section in values.items() if section is not None}  # all of it commented out


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


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # a SafeLoader


def _read_value(text: str) -> Any:
    value = _parse(text)
    if isinstance(value, str):  # YAML 1.1 reads 5e-4 as a string: it wants a dot
        try:
            return float(value) if value[:1].isdigit() else value
        except ValueError:
            return value
    return value
