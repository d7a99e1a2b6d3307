"""Profiles in YAML, and `--set section.field=value`."""

from pathlib import Path
from typing import Any

import pytest

from tsrec.config import Config, canonical, load_config
from tsrec.config.yaml_text import parse_yaml
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
        ("backbone.n_layers=null", "backbone", "n_layers", None),
        ("sids.codes_per_level=[8, 16]", "sids", "codes_per_level", (8, 16)),
        ("sa_init.norm=pretrained", "sa_init", "norm", "pretrained"),
        ("sa_init.norm=5e-1", "sa_init", "norm", 0.5),
        ("dataset=no", "", "dataset", "no"),
        ("dataset='7'", "", "dataset", "7"),
        ("backbone.model=a #b: c", "backbone", "model", "a #b: c"),
        ("sids.unique=off", "sids", "unique", False),
        ("sids.seed=010", "sids", "seed", 10),
        ("ingest.since=2014-01-31T10:00:00Z", "ingest", "since", "2014-01-31T10:00:00Z"),
        ("ingest.since=875000000", "ingest", "since", "875000000"),
        ("ingest.path=/data/a=b", "ingest", "path", "/data/a=b"),
        ("ingest.path=", "ingest", "path", None),
        (" decode.beams=30", "decode", "beams", 30),
    ],
)
def test_values_are_read_as_people_mean_them(override: str, section: str, field: str, value: Any) -> None:
    config = load_config(None, ["ingest.source=tables", override])
    assert getattr(getattr(config, section) if section else config, field) == value


@pytest.mark.parametrize(
    "written", ["2024_01", "010", "0x1f", "12:30", "1e3", "1.10", "on", "off", "yes", "no", "True"]
)
def test_a_text_stays_what_was_written(tmp_path: Path, written: str) -> None:
    text = f"ingest:\n  source: tables\n  items_file: {written}\n  item_columns: {{title: {written}}}\n"
    for ingest in (
        load_config(write(tmp_path, text)).ingest,
        load_config(None, ["ingest.source=tables", f"ingest.items_file={written}"]).ingest,
        load_config(None, [f"ingest={{source: tables, items_file: {written}}}"]).ingest,
    ):
        assert ingest.items_file == written
        assert ingest.item_columns.title in (None, written)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ingest:\n  source: tables\ndataset: x\ningest:\n  path: a\n", "line 4: 'ingest' .* first in line 1"),
        ("finetune:\n  epochs: 1\n  seed: 2\n  epochs: 3\n", "line 4: 'epochs' .* first in line 2"),
        ("finetune:\n  tasks: {history: 1, history: 2}\n", "line 2: 'history' .* first in line 2"),
    ],
)
def test_a_key_that_stands_twice_is_refused_at_every_depth(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"profile.yaml, {message}"):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize(("changed", "seed"), [("", 3), ("  seed: 4\n", 4)])
def test_a_merged_mapping_may_be_changed_key_by_key(tmp_path: Path, changed: str, seed: int) -> None:
    config = load_config(write(tmp_path, f"sids: &seeded {{seed: 3}}\nfinetune:\n  <<: *seeded\n{changed}"))
    assert (config.sids.seed, config.finetune.seed) == (3, seed)


def test_paths_in_a_profile_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "shop"
    (home / "model").mkdir(parents=True)
    (home / "sids.json").write_text("{}")
    text = (
        "store: ../store\ningest: {source: tables, path: data}\nbackbone: {model: model}\n"
        "embed: {encoder: sentence-transformers/name}\nsids: {import_file: sids.json}\n"
        "sa_init: {import_file: beside_the_data.json}\n"
    )
    profile = write(home, text)
    monkeypatch.chdir(tmp_path)
    config = load_config(profile.relative_to(tmp_path))
    assert Path(config.store) == home / ".." / "store"
    assert Path(config.ingest.path or "") == home / "data"
    assert Path(config.backbone.model) == home / "model"
    assert Path(config.sids.import_file or "") == home / "sids.json"
    assert config.embed.encoder == "sentence-transformers/name"
    assert config.sa_init.import_file == "beside_the_data.json"
    assert load_config(profile, ["ingest.path=data", "store=s3://bucket/x"]).ingest.path == "data"
    assert load_config(write(home, "store: s3://bucket/x\n")).store == "s3://bucket/x"


def test_the_shipped_profiles_find_their_data_from_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(load_config(CONFIGS / "industrial.yaml").ingest.path or "")
    assert folder.resolve() == (CONFIGS.parent.parent / "shared" / "data" / "industrial").resolve()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["decode.beams=5"], "decode.beams = 5 is less than evaluate.k = 10"),
        (["recommend.n_candidates=5"], "recommend.n_candidates = 5 is less than evaluate.k = 10"),
        (["evaluate.k=[60]", "decode.beams=60"], "fuse.length = 50 is less than evaluate.k = 60"),
        (["decode.max_history=30"], "decode.max_history = 30 items, but finetune.window_items = 20"),
        (["finetune.tasks.history=0"], "finetune.tasks: every weight is 0"),
        (
            ["members.llms=[{name: few, set: [recommend.n_candidates=20]}]"],
            "members.llms, few: recommend.n_candidates=20 holds for all members alike",
        ),
    ],
)
def test_settings_that_disagree_are_refused_naming_both(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"configuration: {message}"):
        load_config(None, overrides)


def test_every_broken_rule_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        load_config(None, ["recommend.n_candidates=5", "decode.max_history=30"])
    assert len(str(error.value).splitlines()) == 2


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


def test_yaml_without_bounds_is_refused_or_read_at_once(tmp_path: Path) -> None:
    """Also by a form: variants of an ablation are written as on the command line."""
    for deep in ("[" * 2000, "{a: " * 2000):
        with pytest.raises(ConfigError, match="nested too deep"):
            load_config(None, [f"dataset={deep}"])
        (tmp_path / "deep.yaml").write_text(f"dataset: {deep}")
        with pytest.raises(ConfigError, match="nested too deep"):
            load_config(tmp_path / "deep.yaml")
    merges = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], x: {n}}}" for n in range(1, 40)]
    values = parse_yaml("\n".join(["a0: &a0 {x: 0, y: 1}", *merges]))
    assert values["a39"] == {"x": "39", "y": "1"}
