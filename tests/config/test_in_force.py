"""What a fingerprint covers: every setting that is in force, and no other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from tsrec import embed, finetune, recommenders
from tsrec.config import Config, FinetuneConfig, SasRecConfig, SidsConfig, canonical
from tsrec.config.base import ResolvesTo
from tsrec.machine import devices

ALIGNED = {"finetune": {"tasks": {"token_to_meaning": 0.1}}}

QUANTIZER = [name for name in SidsConfig.model_fields if name != "import_file"]
# (field, what is set, what else): `field` is in force under `what is set` and not under `what else`.
CONDITIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("keywords.openai.model", {"keywords": {"teacher": "openai"}}, {}),
    ("keywords.openai.base_url", {"keywords": {"teacher": "openai"}}, {}),
    ("keywords.openai.temperature", {"keywords": {"teacher": "openai"}}, {}),
    ("finetune.lora.rank", {"finetune": {"method": "lora"}}, {}),
    ("semantics.teacher", ALIGNED, {}),
    *((f"rl.{name}", {"rl": {"epochs": 1}}, {}) for name in ("beams", "learning_rate")),
    *(
        (f"sids.{name}", {}, {"sids": {"import_file": "sids.json"}})
        for name in SidsConfig.model_fields
        if name != "import_file"
    ),
    ("sa_init.centre", {"sa_init": {"initializer": "keyword-string"}}, {"sa_init": {"initializer": "vocabulary-mean"}}),
]
CONDITIONAL = {field for field, _, _ in CONDITIONS}


def _fields(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _fields(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


FIELDS = dict(_fields(Config))


def _is_runtime(field: Any) -> bool:
    return bool((field.json_schema_extra or {}).get("runtime"))


def _other(value: Any, field: Any) -> list[Any]:
    """Candidates for another valid value of the field."""
    literals = [value for value in getattr(field.annotation, "__args__", ()) if isinstance(value, str)]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1, value / 2, (value + 1) / 2]
    if isinstance(value, dict):
        return [{**value, "title": "name"}]
    if value == ():
        return [({"name": "other", "set": ("sids.seed=2",)},), ("other",)]
    if isinstance(value, tuple):
        return [value[:-1], (*value, *value), (*value[:-1], value[-1] + 1 if isinstance(value[-1], int) else "x")]
    texts = ("other", "2014-01-31", "latin-1", "cuda", "http://localhost/v1", "popular")
    return [*literals, 3, 300, 0.5, *texts, ("a", "b"), {"kind": ["click"]}]


def _set(values: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    first, _, rest = dotted.partition(".")
    inner = values.get(first, {}) if rest else None
    return {**values, first: _set(inner or {}, rest, value) if rest else value}


def _get(config: BaseModel, dotted: str) -> Any:
    """What the field stands for on this machine: `auto` is another value of `precision` on some and not on others."""
    value: Any = config
    for name in dotted.split("."):
        section, value = value, getattr(value, name)
        for mark in type(section).model_fields[name].metadata:
            value = mark.value(section, value) if isinstance(mark, ResolvesTo) else value
    return value


def _changed(base: dict[str, Any], dotted: str) -> tuple[Config, Config]:
    """The configuration of `base`, and the same with another value of the field."""
    base = {"ingest": {"source": "tables"}, **base}
    before = Config.model_validate(base)
    old = _get(before, dotted)
    for value in _other(old, FIELDS[dotted]):
        try:
            after = Config.model_validate(_set(base, dotted, value))
        except ValueError:
            continue
        if _get(after, dotted) != old:
            return before, after
    raise AssertionError(f"no other value of {dotted} is known to this test")


@pytest.mark.parametrize("field", [name for name, field in FIELDS.items() if name not in CONDITIONAL])
def test_a_field_is_fingerprinted_unless_it_only_says_how_to_run(field: str) -> None:
    before, after = _changed({}, field)
    if field == "sids.import_file":  # its own place is not covered, but it puts all other fields out of force
        assert canonical(after.sids) == {}
        return
    same = canonical(before) == canonical(after)
    assert same is _is_runtime(FIELDS[field])


@pytest.mark.parametrize(("field", "there", "elsewhere"), CONDITIONS)
def test_a_field_is_fingerprinted_only_where_it_is_in_force(
    field: str, there: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    before, after = _changed(there, field)
    assert canonical(before) != canonical(after)
    before, after = _changed(elsewhere, field)
    assert canonical(before) == canonical(after)


def test_auto_enters_as_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    here = "cuda" if torch.cuda.is_available() else "cpu"
    assert canonical(Config())["device"] == here
    assert canonical(Config(device="cuda:1"))["device"] == "cuda"
    own = devices.precision_name("auto", "cpu")
    assert own in ("float32", "bfloat16")
    assert canonical(Config(device="cpu")) == canonical(Config(device="cpu", precision=own))
    other = "float32" if own == "bfloat16" else "bfloat16"
    assert canonical(Config(device="cpu")) != canonical(Config(device="cpu", precision=other))


def test_what_is_computed_is_computed_on_the_runs_device() -> None:
    config = Config(device="cuda:1", precision="bfloat16")
    assert embed.STAGE.config(config).device == "cuda:1"  # type: ignore[attr-defined]
    goes_on = finetune.STAGE.section(config, extends=True)
    of_llm = (finetune.STAGE.config(config), goes_on.whole, finetune.RL.config(config).finetune)  # type: ignore[attr-defined]
    for settings in (*of_llm, recommenders.DECODE.config(config).own):  # type: ignore[attr-defined]
        assert (settings.device, settings.precision) == ("cuda:1", "bfloat16")


def test_a_model_folder_is_not_known_by_its_place(tmp_path: Path) -> None:
    marks = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        marks.add(str(canonical(Config.model_validate({"backbone": {"model": str(tmp_path / name)}}))))
    assert len(marks) == 1
    named = Config.model_validate({"backbone": {"model": "org/name"}})
    assert canonical(named.backbone)["model"] == "org/name"


@pytest.mark.parametrize(("given", "written"), [(15, "15"), (15.0, "15"), ("0.05", "0.05")])
def test_whole_epochs_of_sasrec_are_fingerprinted_as_whole_numbers(given: object, written: str) -> None:
    config = SasRecConfig.model_validate({"epochs": given})
    assert json.dumps(canonical(config)["epochs"]) == written


def test_what_came_later_changes_no_fingerprint_where_it_means_what_was_done_before() -> None:
    """Artifacts that were made before these fields are found again."""
    settings = canonical(FinetuneConfig(tasks={"history": 1, "token_to_meaning": 1}))
    later = {"distill", "label_smoothing"}
    assert not later & settings.keys()
    assert settings["tasks"].keys() == {
        "history",
        "title_to_sid",
        "sid_to_title",
        "history_to_title",
        "token_to_meaning",
        "meaning_to_token",
    }
    assert not {"semantics", "rl"} & canonical(Config()).keys()
    assert not {"quantizer", "cooccurrence"} & canonical(SidsConfig(cooccurrence=0)).keys()
    assert canonical(FinetuneConfig(tasks={"keywords_to_token": 0.5}))["tasks"]["keywords_to_token"] == 0.5
