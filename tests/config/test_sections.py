"""Sections are strict: bounds, and unknown keys that name the nearest known one."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tsrec.config import Config, SaInitConfig, SidsConfig, load_config
from tsrec.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("finetune.epoch=2", r"finetune: unknown field 'epoch'; did you mean 'epochs'\?"),
        ("fintune.epochs=2", r"configuration: unknown field 'fintune'; did you mean 'finetune'\?"),
        ("keywords.openai.concurency=2", r"keywords.openai: unknown field 'concurency'; did you mean 'concurrency'\?"),
        ("sids.zzz=2", r"sids: unknown field 'zzz'; known are: import_file, quantizer, codes_per_level"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("finetune.learning_rate=0", "finetune.learning_rate: Input should be greater than 0"),
        ("finetune.learning_rate=inf", "finetune.learning_rate: Input should be a finite number"),
        ("finetune.method=magic", "finetune.method: Input should be 'full', 'lora'"),
        ("finetune={window_items: 4, window_overlap: 4}", r"finetune: window_overlap \(4\) must be less than"),
        ("finetune={processes: 4, batch_size: 3}", r"finetune: processes \(4\) must be at most batch_size \(3\)"),
        ("evaluate.k=[3, 0]", r"evaluate.k.1: Input should be greater than or equal to 1"),
        ("sids.codes_per_level=[1, 4]", "sids: codes_per_level holds 1; each level needs 2 to 32767 codes"),
        ("dataset=../elsewhere", "dataset: String should match pattern"),
        ("ingest=5", "ingest: "),
        ("device=gpu", "device: String should match pattern"),
        ("evaluate.k=[5, 10, 5]", "evaluate.k: 5 stands there twice"),
        ("members.llms=[{name: a, set: [sids.seed=2]}, {name: a, set: [sids.seed=3]}]", "members.llms: 'a' stands"),
        ("evaluate.k=[]", "evaluate.k: Tuple should have at least 1 item"),
        ("ingest.path=/data/shop", "ingest: path given, but no source, and movielens-100k would be read by accident"),
        ("ingest={source: movielens-100k, path: /data}", "ingest: path given, but source movielens-100k comes from"),
    ],
)
def test_what_is_out_of_bounds_names_its_field(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        load_config(None, ["finetune.epochs=0", "decode.beams=0", "sids.seed=-1"])
    assert len(str(error.value).splitlines()) == 3


def fields_of(section: type[BaseModel]) -> list[tuple[str, Any]]:
    fields = []
    for name, field in section.model_fields.items():
        fields.append((f"{section.__name__}.{name}", field))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            fields.extend(fields_of(field.annotation))
    return fields


@pytest.mark.parametrize(("name", "field"), fields_of(Config))
def test_every_field_is_described_and_has_a_default(name: str, field: Any) -> None:
    assert field.description and field.description.endswith("."), name
    assert not field.is_required(), name


@pytest.mark.parametrize(("name", "field"), fields_of(Config))
def test_no_description_loses_a_character_where_the_form_shows_it_as_markdown(name: str, field: Any) -> None:
    outside_code = re.sub(r"`[^`]*`", "", field.description)
    assert not re.search(r"[*\\|~]|<\w", outside_code), name


@pytest.mark.parametrize("section", [SidsConfig, SaInitConfig])
def test_an_import_is_looked_for_beside_the_data_and_else_where_it_says(section: Any, tmp_path: Path) -> None:
    (tmp_path / "made.json").write_text("{}")
    relative = section(import_file="made.json")
    assert relative.with_import_file_in(str(tmp_path)).import_file == str(tmp_path / "made.json")
    assert relative.with_import_file_in(str(tmp_path / "elsewhere")).import_file == "made.json"
    assert relative.with_import_file_in(None).import_file == "made.json"
    absolute = section(import_file=str(tmp_path / "made.json"))
    assert absolute.with_import_file_in("/data") == absolute
    assert section().with_import_file_in(str(tmp_path)) == section()
