"""The base of all configuration sections: frozen, strict, and precise about what a fingerprint covers."""

import difflib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tsrec.errors import DataError


class Section(BaseModel):
    """Configuration of one stage. Unknown keys are errors that name the nearest known one."""

    # A data set may be called 2024 in YAML; infinity and NaN are no settings, and JSON has no word for them.
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, coerce_numbers_to_str=True, allow_inf_nan=False
    )

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


def runtime(default: Any, **field: Any) -> Any:
    """A field that changes how a stage runs but not what it computes, and so stays out of the fingerprint."""
    return Field(default, json_schema_extra={"runtime": True}, **field)


class ImportingSection(Section):
    """A section whose stage can read its result from a file made elsewhere instead of computing it."""

    import_file: str | None

    def beside(self, data: str | None) -> Self:
        """The section with a relative `import_file` in the folder `data` where it lies there, else as it is."""
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


def canonical(section: BaseModel) -> dict[str, Any]:
    """The section as plain JSON values without its `runtime` fields: what a fingerprint covers."""
    result: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("runtime"):
            continue
        value = getattr(section, name)
        result[name] = canonical(value) if isinstance(value, BaseModel) else section.model_dump(mode="json")[name]
    return result
