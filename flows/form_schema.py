"""The form of a deployment: its parameters as the UI shows them, from the same sections as everywhere else.

Made from the schema that Prefect makes of a flow. Knows no section by name: order, titles, bounds and descriptions
stand where the fields do.
"""

import inspect
import json
from collections.abc import Sequence
from typing import Any

from prefect import Flow
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel

_NONE = {"type": "null"}
_AS_IT_IS, _CHANGE = "As in the profile", "Change"  # tabs of a section
MARK = "tsrec"
"""The `$comment` of these forms, which tells them from others."""


def form_schema(flow: Flow[..., Any], config: BaseModel, first: Sequence[str] = ()) -> dict[str, Any]:
    """The schema of a flow's parameters, simplified for the UI's form.

    - A field that may be left empty, and is by default, is one empty field, not a choice between a text and None.
    - Only such fields, and sections of nothing else, are called optional: all others have a value, which stands there.
    - A mapping whose keys are free is a text that holds JSON: the UI's own field for one sends something even where
      nobody touched it.
    - A section is called what its field is called.
    - A section of the configuration that is not among the `first` is folded: of two tabs the first one shows nothing
      and means the profile's values, the second one shows the fields. The UI has no other way to hide any.

    Args:
        flow: its parameters are sections of the configuration.
        config: the profile.
        first: fields that this flow's users change; they stand at the top, wherever they are.
    """
    schema = parameter_schema(flow).model_dump(exclude_unset=True)
    definitions = schema.get("definitions", {})
    for shape in (schema, *definitions.values()):
        fields = shape.get("properties", {})
        for name, field in fields.items():
            fields[name] = _simplified(name, field)
            if name in first:
                fields[name]["position"] = first.index(name) - len(first)
    for shape in (schema, *definitions.values()):
        shape["required"] = [
            name for name in shape.get("properties", {}) if not _may_be_empty(shape, name, definitions)
        ]
    whole = definitions[type(config).__name__]["properties"]
    for name, values in form_values(config).items():
        if "$ref" in whole[name] and name not in first:
            fields = definitions[whole[name]["$ref"].rsplit("/", 1)[-1]]["properties"]
            for field, value in values.items():
                fields[field]["default"] = value  # what its tab starts from
            whole[name] = _folded(whole[name], values)
    return schema | {"$comment": MARK}


def form_values(section: BaseModel) -> dict[str, Any]:
    """What a form of the section starts from: every value, but for what is empty and empty by default."""
    written: dict[str, Any] = {}
    for name, value in section.model_dump(mode="json").items():
        inner = getattr(section, name)
        if isinstance(inner, BaseModel):
            written[name] = form_values(inner)
        elif value is not None or type(section).model_fields[name].default is not None:
            written[name] = json.dumps(value) if isinstance(value, dict) else value
    return written


def default_parameters(flow: Flow[..., Any], config: BaseModel) -> dict[str, Any]:
    """What a deployment of the flow starts from: `config`, and its other sections as they are by default, so that a run
    that is asked for without a form, or on a schedule, has all that the form calls required."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(flow.fn).parameters.items()}
    sections = {name: value for name, value in defaults.items() if isinstance(value, BaseModel)}
    return {name: form_values(value) for name, value in (sections | {"config": config}).items()}


def merged_parameters(overrides: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The parameters `values` with what `overrides` sets, field by field: a schedule may set single fields."""
    whole = dict(values)
    for name, value in overrides.items():
        inner = whole.get(name)
        whole[name] = merged_parameters(value, inner) if isinstance(value, dict) and isinstance(inner, dict) else value
    return whole


def without_required_fields(form: dict[str, Any]) -> dict[str, Any]:
    """The form of a schedule, which may set single fields; its runs get the others by `merged_parameters`.

    It has no tabs: an error in a section would be reported twice, also as fitting neither tab.
    """
    definitions = {
        name: {
            **shape,
            "required": [],
            "properties": {field: _unfolded(inner) for field, inner in shape.get("properties", {}).items()},
        }
        for name, shape in form.get("definitions", {}).items()
    }
    return {**form, "definitions": definitions}


def _simplified(name: str, field: dict[str, Any]) -> dict[str, Any]:
    shapes = [shape for shape in field.get("anyOf", ()) if shape != _NONE]
    if len(shapes) == 1 and _NONE in field["anyOf"] and field.get("default") is None:
        field = {**{key: value for key, value in field.items() if key != "anyOf"}, **shapes[0]}
    if field.get("additionalProperties"):
        kept = {key: field[key] for key in ("title", "default", "position") if key in field}
        field = kept | {"type": "string", "description": f"{field.get('description', '')} As JSON."}
    if "default" in field:
        field = field | {"default": _without_empty(field["default"])}
        if field["default"] is None:
            del field["default"]
    words = name.replace("_", " ")
    if field.get("title", "").lower() in ("", words):  # nobody gave it one
        field = field | {"title": words[:1].upper() + words[1:]}
    return field


def _folded(field: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A section behind a tab, whose other one means `values`."""
    shown = {key: value for key, value in field.items() if key not in ("$ref", "default")}
    as_it_is = {"title": _AS_IT_IS, "type": "object", "const": values}
    return shown | {"anyOf": [as_it_is, {"title": _CHANGE, "$ref": field["$ref"]}]}


def _unfolded(field: dict[str, Any]) -> dict[str, Any]:
    shapes = field.get("anyOf", ())
    return shapes[1] if shapes and "const" in shapes[0] else field


def _may_be_empty(shape: dict[str, Any], name: str, definitions: dict[str, Any]) -> bool:
    """Whether a form may leave a field of `shape` empty: it is so by default, or a section of nothing but such ones."""
    field = shape["properties"][name]
    if "$ref" in field:
        inner = definitions[field["$ref"].rsplit("/", 1)[-1]]
        return all(_may_be_empty(inner, part, definitions) for part in inner.get("properties", {}))
    return name not in shape.get("required", ()) and field.get("default") in (None, "", [])


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: kept for name, inner in value.items() if (kept := _without_empty(inner)) not in (None, {})}
    return value
