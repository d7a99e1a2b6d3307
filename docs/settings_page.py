"""The page of all settings, made from the configuration's own models while the site is built.

A hook of MkDocs (`hooks` in mkdocs.yml): `on_files` adds `settings.md` to the pages. `page` knows nothing of MkDocs.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tsrec.config import Config

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PAGE = "settings.md"
_INTRODUCTION = """# Settings

This page is made from the code. A name such as `finetune.epochs` is a key of a profile:

```yaml
finetune:
  epochs: 2
```

On the command line the same setting is `--set finetune.epochs=2`. In the browser it is a field of the form.

Every setting has a default. Without a profile, the defaults read MovieLens-100K.
Settings with a dagger (†) say how a stage runs, not what it makes. Changing one of them builds nothing anew.
"""


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the page to the files of the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """The page as Markdown: a table of each section of the configuration, in the order of the form."""
    schema = Config.model_json_schema()
    parts = [_INTRODUCTION, "## General", "What stands outside of all sections.", _table(_rows(schema, schema, ""))]
    for name, field in schema["properties"].items():
        if section := _section(field, schema):
            parts += [f"## {name}", f"{field['title'].removesuffix(f' ({name})')}. {field['description']}"]
            parts.append(_table(_rows(section, schema, f"{name}.", nested=True)))
    return "\n\n".join(parts) + "\n"


def _rows(section: dict[str, Any], schema: dict[str, Any], prefix: str, *, nested: bool = False) -> Iterator[list[str]]:
    """Name, default and meaning of each field of a section; with `nested`, also those of the sections in it."""
    for name, field in section["properties"].items():
        inner, path = _section(field, schema), f"{prefix}{name}"
        if inner is None:
            mark = " †" if field.get("runtime") else ""
            yield [f"`{path}`{mark}", _default(name, section, field), _meaning(field)]
            inner, path = _section(field.get("items", {}), schema), f"{path}[]"
        if inner and nested:
            yield from _rows(inner, schema, f"{path}.", nested=True)


def _section(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    reference = field.get("$ref")
    definition = schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else {}
    return definition if "properties" in definition else None


def _default(name: str, section: dict[str, Any], field: dict[str, Any]) -> str:
    if name in section.get("required", []):
        return "required"
    value = field["default"]
    if value is None or value == "":
        return "empty"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _meaning(field: dict[str, Any]) -> str:
    """The description; after it the values that can be chosen, where it does not tell them all."""
    told = str(field.get("description", ""))
    choices = [str(value) for value in field.get("enum", [])]
    if any(choice not in told for choice in choices):
        told = f"{told} One of: {', '.join(f'`{choice}`' for choice in choices)}."
    return told


def _table(rows: Iterator[list[str]]) -> str:
    lines = [["Setting", "Default", "Meaning"], ["---"] * 3, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
