"""Profiles in YAML, and `--set section.field=value`."""

from pathlib import Path
from typing import Any

import pytest

from tsrec.config import Config, canonical, load_config
from tsrec.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "profile.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_profile_the_defaults_hold() -> None:
    assert load_config() == Config()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_profile_that_ships_is_valid(path: Path) -> None:
    config = load_config(path)
    assert canonical(config) == canonical(Config.model_validate(config.model_dump(mode="json")))


def test_overrides_win_over_the_profile_and_leave_the_rest(tmp_path: Path) -> None:
    profile = write(tmp_path, "dataset: shop\nfinetune:\n  epochs: 3\n  batch_size: 8\n")
    config = load_config(profile, ["finetune.epochs=2", "finetune.tasks.title_to_sid=0.5", "finetune.epochs=4"])
    assert (config.dataset, config.finetune.epochs, config.finetune.batch_size) == ("shop", 4, 8)
    assert config.finetune.tasks.title_to_sid == 0.5 and config.finetune.tasks.history == 1


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        ("finetune.learning_rate=1e-3", "finetune", "learning_rate", 1e-3),
        ("finetune.learning_rate=0.001", "finetune", "learning_rate", 1e-3),
        ("backbone.n_layers=null", "backbone", "n_layers", None),
        ("sids.codes_per_level=[8, 16]", "sids", "codes_per_level", (8, 16)),
        ("sids.unique=false", "sids", "unique", False),
        ("sa_init.norm=pretrained", "sa_init", "norm", "pretrained"),
        ("sa_init.norm=5e-1", "sa_init", "norm", 0.5),
        ("ingest.since=2014-01-31", "ingest", "since", "2014-01-31"),
        ("ingest.since=2014-01-31T10:00:00Z", "ingest", "since", "2014-01-31T10:00:00Z"),
        ("ingest.since=875000000", "ingest", "since", "875000000"),
        ("ingest.path=/data/a=b", "ingest", "path", "/data/a=b"),
        ("ingest.path=", "ingest", "path", None),
        (" evaluate.beams=30", "evaluate", "beams", 30),
    ],
)
def test_values_are_read_as_people_mean_them(override: str, section: str, field: str, value: Any) -> None:
    assert getattr(getattr(load_config(None, [override]), section), field) == value


def test_dates_in_a_profile_stay_text(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "dataset: 2024\ningest:\n  since: 2014-01-31\n"))
    assert (config.dataset, config.ingest.since) == ("2024", "2014-01-31")


def test_a_section_with_everything_commented_out_is_the_default(tmp_path: Path) -> None:
    profile = write(tmp_path, "finetune:\n  # epochs: 3\n")
    assert load_config(profile, ["finetune.batch_size=8"]).finetune.batch_size == 8
    empty = load_config(write(tmp_path, "# nothing\n"))
    assert empty == Config(profile=empty.profile)


def test_a_profile_is_named_by_its_file_and_folder_unless_it_names_itself(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    assert load_config(write(tmp_path / "shop", "dataset: shop")).profile == "shop/profile"
    assert load_config(write(tmp_path, "profile: nightly")).profile == "nightly"
    assert load_config().profile == ""


def test_the_name_of_the_shared_folder_is_reserved() -> None:
    with pytest.raises(ConfigError, match=r"dataset: 'shared' is the store's folder .* choose another name"):
        load_config(None, ["dataset=shared"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("finetune.epochs", r"--set finetune.epochs: expected section.field=value, e.g. finetune.epochs=2"),
        ("=2", r"--set =2: expected section.field=value"),
        ("dataset.name=2", r"--set dataset.name=2: dataset is a value, not a section"),
        ("sids.seed=[1", r"--set sids.seed=\[1: value not readable as YAML"),
        ("sids.seed=!!python/object:os.system 1", r"value not readable as YAML"),
    ],
)
def test_an_override_that_cannot_be_read_says_how_to_write_it(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, "dataset: shop\n"), [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "expected sections .* found a list"),
        ("a: [1\n", "not readable as YAML"),
        ("finetune:\n  epochs: -1\n", "profile.yaml: finetune.epochs: Input should be greater than 0"),
    ],
)
def test_a_bad_profile_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text))


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such profile; see configs/"):
        load_config(tmp_path / "none.yaml")
