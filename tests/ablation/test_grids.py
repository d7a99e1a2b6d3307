"""What a grid may say, and what is refused in words before any work."""

from pathlib import Path

import pytest

from flows.cli import main
from tests.ablation.conftest import GRID, ROOT
from tsrec.ablation import build_ablation, plan_ablation
from tsrec.config import Ablation, Config, canonical, configs_of, load_grid
from tsrec.errors import ConfigError, DataError

VARIANTS = "variants:\n  - name: full\n  - {name: random, set: [sa_init.initializer=random]}\nreference: full\n"
WHOLE = f"datasets: [{{set: [finetune.epochs=1]}}]\n{VARIANTS}"


def _write(folder: Path, text: str) -> Path:
    path = folder / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "ablations").glob("*.yaml")), ids=lambda path: path.name)
def test_every_grid_that_ships_is_valid(path: Path) -> None:
    ablation, configs = load_grid(path)
    assert ablation.name == path.stem and ablation.split == "valid"
    for config in configs:
        found = configs_of(ablation, config)
        assert len(found) == len(ablation.variants) * len(ablation.seeds)
        first = [found[variant.name, ablation.seeds[0]] for variant in ablation.variants]
        assert all(one != other for i, one in enumerate(first) for other in first[:i])


def test_the_form_starts_from_the_grid_of_the_papers_claim() -> None:
    grid, (config, _) = load_grid(ROOT / "configs" / "ablations" / "sa-init-ts-align.yaml")
    form = Ablation(seeds=grid.seeds)
    assert form.reference == grid.reference
    shipped, default = configs_of(grid, config), configs_of(form, config)
    assert list(shipped) == list(default)
    for row, found in shipped.items():
        assert canonical(found.sa_init) == canonical(default[row].sa_init)
        assert canonical(found.finetune) == canonical(default[row].finetune)


def test_settings_of_a_variant_win_over_all_others(tmp_path: Path) -> None:
    text = WHOLE + "set: [finetune.epochs=9, backbone.n_layers=9, sa_init.norm=9, sa_init.initializer=keywords]\n"
    ablation, (config,) = load_grid(_write(tmp_path, text), ["backbone.n_layers=2", "sa_init.initializer=keywords"])
    assert (config.sa_init.norm, config.finetune.epochs, config.backbone.n_layers) == (9, 1, 2)
    found = configs_of(ablation, config)
    assert [c.sa_init.initializer for c in found.values()] == ["keywords", "random"]
    assert {c.evaluate.split for c in found.values()} == {"valid"}


def test_every_seeded_field_gets_the_seed(tmp_path: Path) -> None:
    path = _write(tmp_path, WHOLE + "seeds: [3, 5]\nseeded: [sids.seed, finetune.seed]\n")
    ablation, (config,) = load_grid(path)
    found = configs_of(ablation, config)
    assert list(found) == [("full", 3), ("random", 3), ("full", 5), ("random", 5)]
    assert {(c.sids.seed, c.finetune.seed) for c in found.values()} == {(3, 3), (5, 5)}


def test_paths_are_relative_to_the_grid(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text("dataset: shop\ningest: {source: tables, path: data}\n")
    (tmp_path / "semantics.json").write_text("[]")
    text = (
        "datasets: [{profile: shop.yaml}, {profile: ./shop.yaml, set: [dataset=other, ingest.path=elsewhere]}]\n"
        "variants: [{name: full, set: ['sa_init={import_file: semantics.json, n_keywords: 5}']}]\nreference: full\n"
    )
    ablation, configs = load_grid(_write(tmp_path, text))
    assert [config.ingest.path for config in configs] == [str(tmp_path / "data"), str(tmp_path / "elsewhere")]
    assert {config.profile for config in configs} == {f"{tmp_path.name}/shop"}
    (config,) = configs_of(ablation, configs[0]).values()
    assert config.sa_init.import_file == str(tmp_path / "semantics.json") and config.sa_init.n_keywords == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WHOLE.replace("reference: full", "reference: ful"), "no variant is called 'ful'; name one of full, random"),
        (WHOLE.replace("name: random", "name: full"), "variants: 'full' stands there twice"),
        (WHOLE + "seeds: [1, 2, 1]\n", "seeds: 1 stands there twice"),
        (WHOLE + "seed: [1]\n", "unknown field 'seed'; did you mean 'seeds'"),
        (WHOLE + "split: train\n", "split: Input should be 'valid' or 'test'"),
        (WHOLE.replace("sa_init.initializer=random", "sa_init.initializer"), "String should match pattern"),
        (VARIANTS, "datasets: Field required"),
        (WHOLE.replace("name: random", "name: 'a|b'"), "variants.1.name: String should match pattern"),
        (WHOLE + "datasets: []\n", "'datasets' stands there a second time"),
        (WHOLE.replace("{set:", "{profile: nowhere.yaml, set:"), "nowhere.yaml: no such profile"),
        (WHOLE.replace("finetune.epochs", "finetune.epoch"), "did you mean 'epochs'"),
        ("- 1", "expected sections"),
    ],
)
def test_what_a_grid_may_not_say(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_grid(_write(tmp_path, text))
    assert message in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("sa_init.initialiser=random", r"variant 'random' on ml-100k: sa_init: unknown field 'initialiser'; .*'init"),
        ("decode.beams=9", r"variant 'random' on ml-100k: .*decode.beams = 9 is less than evaluate.k = 10"),
        ("ingest.split=time", "variant 'random' on ml-100k changes ingest: all variants of a data set are measured"),
        ("evaluate.k=[1]", "changes evaluate"),
        ("recommend.max_valid_targets=200", r"changes recommend\.max_valid_targets"),
        ("store=elsewhere", "changes store"),
        ("dataset=other", "changes dataset"),
    ],
)
def test_what_a_variant_may_not_say(setting: str, message: str, tmp_path: Path) -> None:
    ablation, (config,) = load_grid(_write(tmp_path, WHOLE.replace("sa_init.initializer=random", f"'{setting}'")))
    with pytest.raises(ConfigError, match=message):
        configs_of(ablation, config)


def test_a_data_set_that_stands_twice_or_is_missing_is_refused(tmp_path: Path) -> None:
    ablation, (config,) = load_grid(_write(tmp_path, WHOLE), [f"store={tmp_path / 'store'}"])
    with pytest.raises(ConfigError, match="datasets: 'ml-100k' stands there twice"):
        plan_ablation(ablation, (config, config))
    elsewhere = Config.model_validate(
        config.model_dump() | {"dataset": "shop", "ingest": {"source": "tables", "path": str(tmp_path / "nowhere")}}
    )
    with pytest.raises(DataError, match="nowhere: no such folder"):
        plan_ablation(ablation, (config, elsewhere))
    assert not (tmp_path / "store").exists()  # nothing was begun


def test_results_stay_within_the_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSREC_WRITE_ROOTS", str(tmp_path / "allowed"))
    ablation, configs = load_grid(GRID, [f"store={tmp_path / 'allowed'}"], out=str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match="TSREC_WRITE_ROOTS"):
        plan_ablation(ablation, configs)


@pytest.mark.parametrize("out", ["file", "file/below", "/proc", "~nobody-at-all/x"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_built(out: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = str(tmp_path / out) if out.startswith("file") else out
    plan = plan_ablation(*load_grid(GRID, [f"store={tmp_path / 'store'}"], out=place))
    with pytest.raises(ConfigError, match=rf"^out: {place} cannot be written \(.+\); name a folder") as error:
        build_ablation(plan)
    assert len(str(error.value).splitlines()) == 1
    assert not list((tmp_path / "store").rglob("*"))


def test_a_refusal_is_one_line_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path, WHOLE.replace("initializer=", "initialiser="))
    assert main(["ablation", str(path), "--set", f"store={tmp_path / 'store'}"]) == 1
    error = capsys.readouterr().err
    assert "did you mean 'initializer'?" in error and len(error.splitlines()) == 1
