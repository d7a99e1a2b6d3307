"""The form of a deployment: what a person changes comes first, what is there is said, and every profile fits it."""

from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.deployments import FLOWS
from flows.form import completed, form_of, values_of, without_required
from tsrec.config import Config, load_config

PROFILES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
FORMS = {served.entrypoint.rpartition(".")[2]: form_of(served.load(), Config(), served.first) for served in FLOWS}
FORM = FORMS["train"]


def _fields(name: str = "Config") -> dict[str, Any]:
    fields: dict[str, Any] = FORM["definitions"][name]["properties"]
    return fields


def _all_fields() -> list[tuple[str, str, Any]]:
    return [(name, field, shape) for name in FORM["definitions"] for field, shape in _fields(name).items()]


def _as_shown(fields: dict[str, Any]) -> list[str]:
    """Names in the order of both UIs: by position, and as they stand."""
    return sorted(fields, key=lambda name: fields[name].get("position", 0))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("override", ["dataset=x", "backbone.n_layers=null", "finetune.patience=null"])
def test_an_untouched_form_is_the_profile(profile: Path, override: str) -> None:
    config = load_config(profile, [override])
    values = values_of(config)
    validate({"config": values}, FORM, raise_on_error=True)  # as the server does
    assert Config.model_validate(values) == config


def test_what_a_person_changes_comes_first_and_what_an_operator_sets_last() -> None:
    shown = _as_shown(_fields())
    assert shown[:6] == ["dataset", "ingest", "keywords", "backbone", "finetune", "members"]
    assert shown[-2:] == ["store", "profile"]
    assert next(iter(_fields("KeywordsConfig"))) == "teacher"
    assert next(iter(_fields("FinetuneConfig"))) == "epochs"
    assert _as_shown(FORMS["refresh"]["definitions"]["Config"]["properties"])[:2] == ["dataset", "refresh"]
    assert _as_shown(FORMS["recommend"]["properties"]) == ["wish", "config"]
    assert _as_shown(FORMS["ablation"]["properties"]) == ["ablation", "config", "more"]


def _n_shown(form: dict[str, Any], shape: dict[str, Any]) -> int:
    """Fields of a form that stand there before anybody opens a tab."""
    if reference := shape.get("$ref"):
        shape = form["definitions"][reference.rsplit("/", 1)[-1]]
    if "properties" in shape:
        return sum(_n_shown(form, field) for field in shape["properties"].values())
    return 0 if "const" in shape.get("anyOf", [{}])[0] else 1


def test_few_fields_stand_there_before_more_is_asked_for() -> None:
    assert 2 < _n_shown(FORM, FORM) <= 12
    assert _n_shown(FORM, {"properties": without_required(FORM)["definitions"]["FinetuneConfig"]["properties"]}) > 12


def test_a_section_behind_a_tab_starts_from_the_profile_and_means_it_untouched() -> None:
    config = load_config(None, ["finetune.epochs=2"])
    form = form_of(FLOWS[0].load(), config, FLOWS[0].first)
    as_it_is, change = form["definitions"]["Config"]["properties"]["finetune"]["anyOf"]
    assert as_it_is["const"] == values_of(config)["finetune"]
    fields = form["definitions"][change["$ref"].rsplit("/", 1)[-1]]["properties"]
    assert {name: field["default"] for name, field in fields.items() if "default" in field} == as_it_is["const"]
    assert "properties" not in as_it_is  # nothing is shown
    assert "finetune" in _fields() and "anyOf" not in FORMS["refresh"]["definitions"]["Config"]["properties"]["refresh"]


def test_only_what_may_be_left_empty_is_optional() -> None:
    optional = {(name, field) for name, field, _ in _all_fields() if field not in FORM["definitions"][name]["required"]}
    assert ("IngestConfig", "path") in optional and ("IngestConfig", "item_columns") in optional
    assert ("LlmVariant", "name") not in optional and ("MembersConfig", "llms") in optional
    assert {field for name, field in optional if name == "Config"} == {"profile"}
    assert not {name for name, _ in optional} & {"BackboneConfig", "EvaluateConfig"}
    assert len(optional) < len(_all_fields()) / 3


def test_sections_have_plain_names_and_every_bound_is_said() -> None:
    for name, field, shape in _all_fields():
        assert shape["title"] and not shape["title"].endswith("Config"), (name, field)
        for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
            if key in shape:
                assert f"{shape[key]:g}" in shape["description"], (name, field)
    assert _fields()["ingest"]["title"] == "Data (ingest)"
    assert _fields("IngestConfig")["items_format"]["title"] == "Items format"


def test_an_empty_text_is_one_field_and_no_choice_of_types() -> None:
    assert _fields("IngestConfig")["path"]["type"] == "string"
    choices = [(name, field) for name, field, shape in _all_fields() if {"type": "null"} in shape.get("anyOf", ())]
    assert set(choices) == {("BackboneConfig", "n_layers"), ("FinetuneConfig", "patience")}  # None is not their default


@pytest.mark.parametrize(
    ("section", "change", "named"),
    [
        ("finetune", {"epochs": 0}, "config.finetune.epochs"),
        ("finetune", {"epocs": 1}, "epocs"),
        ("keywords", {"teacher": "magic"}, "config.keywords.teacher"),
        ("ingest", {"path": 5}, "config.ingest.path"),
    ],
)
def test_a_wrong_value_is_refused_by_the_server_naming_its_field(
    section: str, change: dict[str, Any], named: str
) -> None:
    values = values_of(Config())
    with pytest.raises(ValidationError, match=named):
        validate({"config": values | {section: values[section] | change}}, FORM, raise_on_error=True)


def test_scripts_may_send_null_for_what_is_empty() -> None:
    values = values_of(Config())
    validate({"config": values | {"ingest": values["ingest"] | {"path": None}}}, FORM, raise_on_error=True)


def test_keys_and_what_a_machine_permits_are_in_no_form() -> None:
    """They are the operator's: `tsrec.permissions` reads them from the environment."""
    for form in FORMS.values():
        names = {field for shape in form["definitions"].values() for field in shape.get("properties", {})}
        words = {word for name in names for word in name.split("_")}
        assert not words & {"key", "secret", "password", "auth", "env", "root", "roots", "urls"}


def test_defaults_fit_the_form() -> None:
    default = FORM["properties"]["config"]["default"]
    validate({"config": default}, FORM, raise_on_error=True)
    assert Config.model_validate(default) == Config()


def test_a_schedule_may_set_single_fields_and_means_those() -> None:
    override = {"config": {"finetune": {"epochs": 1}, "evaluate": {"k": [10]}}}
    validate(override, without_required(FORM), raise_on_error=True)
    with pytest.raises(ValidationError, match="epochs"):
        validate({"config": {"finetune": {"epochs": 0}}}, without_required(FORM), raise_on_error=True)
    config = load_config(None, ["dataset=shop"])
    whole = completed(override, {"config": values_of(config)})
    assert Config.model_validate(whole["config"]) == load_config(
        None, ["dataset=shop", "finetune.epochs=1", "evaluate.k=[10]"]
    )


def test_a_mapping_with_free_keys_is_a_text_of_json() -> None:
    """The UI's own field for one sends something even if nobody touched it."""
    assert all(shape.get("additionalProperties", False) is False for _, _, shape in _all_fields())
    config = load_config(None, ["ingest.source=tables", "ingest.path=/data", "ingest.keep={type: [clicks, 1]}"])
    written = values_of(config)
    assert written["ingest"]["keep"] == '{"type": ["clicks", "1"]}'
    assert Config.model_validate(written) == config
