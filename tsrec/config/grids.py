"""Reading the grid of an ablation: what is compared, and the configurations that it is compared on."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tsrec.config.ablation import Ablation, Grid
from tsrec.config.profiles import anchored_override, load_config, read_sections, refusal, with_overrides
from tsrec.config.root import Config
from tsrec.errors import ConfigError


def load_grid(path: str | Path, overrides: Iterable[str] = (), **fields: Any) -> tuple[Ablation, tuple[Config, ...]]:
    """Read a grid.

    Args:
        path: a YAML file with the fields of `Grid`. Relative paths in it are relative to its folder.
        overrides: settings of all runs, after those of the grid and its data sets, and before those of the variants.
        fields: fields of `Ablation` that take the place of those in the file (`seeds=(1,)`).

    Returns:
        what is compared, and one configuration a data set. The ablation is named after the file unless it says its own.

    Raises:
        ConfigError: the file is missing or not YAML, a field is unknown or out of bounds, the reference is not among
            the variants, a name stands twice, or a configuration is refused as by `load_config`.
    """
    written = read_sections(path, "grid")
    path = Path(path)
    values = {"name": path.stem, **written, **fields}
    try:
        grid = Grid.model_validate(values)
    except ValidationError as error:
        raise refusal(error, f"{path}: ", "grid") from None
    folder = path.parent

    def anchored(settings: Iterable[str]) -> list[str]:
        return [anchored_override(setting, folder) for setting in settings]

    configs, overrides = [], list(overrides)
    for number, dataset in enumerate(grid.datasets):
        profile = None if dataset.profile is None else (folder / Path(dataset.profile).expanduser()).resolve()
        try:
            configs.append(load_config(profile, [*anchored(grid.set), *anchored(dataset.set), *overrides]))
        except ConfigError as error:
            raise ConfigError(f"{path}: datasets.{number}: {error}") from None
    variants = [variant.model_copy(update={"set": tuple(anchored(variant.set))}) for variant in grid.variants]
    asked = {name: getattr(grid, name) for name in Ablation.model_fields}
    return Ablation.model_validate(asked | {"variants": variants}), tuple(configs)


def configs_of(ablation: Ablation, config: Config) -> dict[tuple[str, int], Config]:
    """The configuration of every run on one data set, by variant and seed; seeds outermost.

    Raises:
        ConfigError: a variant has a setting that is unknown or out of bounds, or changes what has to be the same for
            all: the data set, its targets, or how they are measured.
    """
    config = with_overrides(config, [f"evaluate.split={ablation.split}"])
    found: dict[tuple[str, int], Config] = {}
    for seed in ablation.seeds:
        for variant in ablation.variants:
            seeds = [f"{field}={seed}" for field in ablation.seeded]
            try:
                changed = with_overrides(config, [*variant.set, *seeds])
            except ConfigError as error:
                raise ConfigError(f"variant {variant.name!r} on {config.dataset}: {error}") from None
            _check_same(variant.name, config, changed)
            found[variant.name, seed] = changed
    return found


_SAME = ("dataset", "store", "ingest", "evaluate")  # else rows would be of other targets, or measured otherwise
_SAME_RULES = ("max_valid_targets", "max_test_targets")


def _check_same(variant: str, config: Config, changed: Config) -> None:
    pairs = {name: (getattr(config, name), getattr(changed, name)) for name in _SAME}
    pairs |= {
        f"recommend.{name}": (getattr(config.recommend, name), getattr(changed.recommend, name)) for name in _SAME_RULES
    }
    for name, (common, of_variant) in pairs.items():
        if common != of_variant:
            raise ConfigError(
                f"variant {variant!r} on {config.dataset} changes {name}: all variants of a data set are measured on "
                "the same targets in the same way; change it for all, in the grid's `set` or that of the data set"
            )
