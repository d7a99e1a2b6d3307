"""The base of all configuration sections: frozen, strict, and precise about what a fingerprint covers.

What a field means beyond its value is said where the field stands: `runtime` (how, not what), `InForce` (only under a
condition), `AddedLater` (without effect at one value), `ResolvesTo` (what `auto` becomes on this machine), `EACH_ONCE`
(no repeats), `LOCAL_PATH`, `LOCAL_FILE`, `MODEL` and `FOLDER_OR_URL` (something on disk). `canonical` and the reading
of profiles obey these marks; neither knows any section by name.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from tsrec.errors import DataError
from tsrec.machine.addresses import is_url, place_problem
from tsrec.machine.devices import DEVICE_PATTERN, device_type, precision_name


@dataclass(frozen=True)
class InForce:
    """Marks a field that changes the result only where `where(section)` holds; elsewhere no fingerprint covers it."""

    where: Callable[[Any], bool]


@dataclass(frozen=True)
class AddedLater:
    """Marks a field that artifacts are older than: at `neutral` it means what was done before it, and no fingerprint
    covers it, so that they are found again."""

    neutral: Any


@dataclass(frozen=True)
class ResolvesTo:
    """Marks a field whose value stands for another on this machine: `value(section, written)` is fingerprinted."""

    value: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class OnDisk:
    """Marks a field that names something on disk; a relative one in a profile is relative to the profile's folder.

    `may_be_elsewhere`: the name counts as a path only where something lies there; it may be a name of the model hub,
    or of a file beside the data. `is_model`: the content of a local folder is fingerprinted, as a raw input, and its
    place is not. `may_be_url`: it may also be a URL; where it may not, `instead` says what to do.
    """

    may_be_elsewhere: bool = False
    is_model: bool = False
    may_be_url: bool = False
    instead: str = "name a local path"

    def problem(self, value: str) -> str | None:
        """What is wrong with a value that is no path, or None. It is not repeated: it may be an address with a key."""
        if is_url(value) and not self.may_be_url:
            return f"a URL, but it names something on this machine; {self.instead}"
        problem = place_problem(value)
        return problem and f"the value {problem}"


@dataclass(frozen=True)
class EachOnce:
    """Marks a list that holds no value twice; sections in it are told apart by their names."""

    def problem(self, values: Any) -> str | None:
        """What is wrong with a list, or None."""
        names = [getattr(value, "name", value) for value in values]
        twice = [name for number, name in enumerate(names) if name in names[:number]]
        return f"{twice[0]!r} stands there twice; name each once" if twice else None


EACH_ONCE = EachOnce()
LOCAL_PATH = OnDisk()
LOCAL_FILE = OnDisk(may_be_elsewhere=True)
MODEL = OnDisk(may_be_elsewhere=True, is_model=True, instead="a model of the hub is named OWNER/NAME")
FOLDER_OR_URL = OnDisk(may_be_url=True)

Device = Annotated[str, Field(pattern=DEVICE_PATTERN), ResolvesTo(lambda _, device: device_type(device))]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"], ResolvesTo(lambda section, written: precision_name(written, section.device))
]


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def _tell_bounds(schema: dict[str, Any]) -> None:
    """Write the bounds of numbers into their descriptions: forms keep to them, and do not show them."""
    for field in schema.get("properties", {}).values():
        bounds: dict[str, Any] = {}
        for shape in (field, *field.get("anyOf", [])):
            bounds |= {word: shape[key] for key, word in _BOUNDS.items() if key in shape}
        if bounds:
            told = ", ".join(f"{word} {bound:g}" for word, bound in bounds.items())
            field["description"] = f"{field.get('description', '')} ({told})".strip()


class Section(BaseModel):
    """Configuration of one stage. Unknown keys are errors that name the nearest known one."""

    # A data set may be called 2024 in YAML; infinity and NaN are no settings, and JSON has no word for them. What a
    # refused field held is not repeated: it may be an address with a key.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        json_schema_extra=_tell_bounds,
    )

    @field_validator("*")
    @classmethod
    def _keeps_to_its_marks(cls, value: Any, info: ValidationInfo) -> Any:
        for mark in _marks(cls.model_fields[str(info.field_name)], (OnDisk, EachOnce)):
            if value is not None and (problem := mark.problem(value)):
                raise ValueError(problem)
        return value

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.5)
                    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(cls.model_fields)}"
                    raise ValueError(f"unknown field {key!r}; {hint}")
        return values


class OnDevice(Section):
    """What a stage that runs the LLM reads of the whole run, beside its own section."""

    device: Device
    precision: Precision


def runtime(default: Any, **field: Any) -> Any:
    """A field that changes how a stage runs but not what it computes, and so stays out of the fingerprint."""
    return Field(default, json_schema_extra={"runtime": True}, **field)


class ImportingSection(Section):
    """A section whose stage can read its result from a file made elsewhere instead of computing it."""

    import_file: str | None

    def with_import_file_in(self, data: str | None) -> Self:
        """The same section, with a relative `import_file` resolved in the folder `data` where the file lies there."""
        if not self.import_file:
            return self
        file = Path(self.import_file).expanduser()
        in_data = Path(data or "").expanduser() / file  # an absolute `file` stays itself
        return self.model_copy(update={"import_file": str(in_data if in_data.is_file() else file)})

    def imported_file(self, name: str) -> Path | None:
        """Path of `import_file`, or None. Raises DataError, naming the section `name`, where the file is missing."""
        if not self.import_file:
            return None
        path = Path(self.import_file)
        if not path.is_file():
            raise DataError(f"{name}.import_file: {path}: no such file, neither here nor in ingest.path")
        return path


NOT_IMPORTED = InForce(lambda section: not section.import_file)


def canonical(section: BaseModel) -> dict[str, Any]:
    """The section as plain JSON values, as a fingerprint covers it: what is in force, `auto` as what it stands for.

    Left out are `runtime` fields, fields that are not in force or came later and are neutral, and models in local
    folders: their content counts.
    """
    written = section.model_dump(mode="json")
    result: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if not _is_covered(section, field, value):
            continue
        result[name] = canonical(value) if isinstance(value, BaseModel) else written[name]
        for mark in _marks(field, ResolvesTo):
            result[name] = mark.value(section, value)
    return result


def neutral_value(section: BaseModel, name: str) -> Any:
    """What a field that came later stood for in settings that lack it; None for any other."""
    field = type(section).model_fields.get(name)
    return next((mark.neutral for mark in _marks(field, AddedLater)), None) if field else None


def anchored(values: dict[str, Any], section: type[BaseModel], folder: Path) -> dict[str, Any]:
    """`values` of a profile in `folder`, as read from YAML: relative paths in them become absolute."""
    result = dict(values)
    for name, value in values.items():
        field = section.model_fields.get(name)
        if field is None or value is None:
            continue
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, dict):
            result[name] = anchored(value, inner, folder)
        for mark in _marks(field, OnDisk):
            result[name] = _anchor(value, mark, folder) if isinstance(value, str) else value
    return result


def _anchor(value: str, mark: OnDisk, folder: Path) -> str:
    if is_url(value) or place_problem(value) or value.startswith("~"):
        return value
    in_folder = folder.absolute() / value  # an absolute value stays itself
    return value if mark.may_be_elsewhere and not in_folder.exists() else str(in_folder)


def _is_covered(section: BaseModel, field: FieldInfo, value: Any) -> bool:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra.get("runtime"):
        return False
    if any(mark.is_model for mark in _marks(field, OnDisk)) and Path(value).expanduser().is_dir():
        return False
    if any(value == mark.neutral for mark in _marks(field, AddedLater)):
        return False
    return all(mark.where(section) for mark in _marks(field, InForce))


def _marks(field: FieldInfo, kind: type[Any] | tuple[type[Any], ...]) -> list[Any]:
    return [mark for mark in field.metadata if isinstance(mark, kind)]
