"""What an ablation has to build: every run's stages, and each artifact that runs share once. Builds nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tsrec import permissions, pipeline, recommenders
from tsrec.columns import FUSED, LLM
from tsrec.config import Ablation, Config, configs_of, with_overrides
from tsrec.errors import ConfigError
from tsrec.pipeline import PlannedStage
from tsrec.store import ArtifactStore, record_run

_FEW = 100  # of the split that is not measured, as few targets are decoded as `recommend` allows


@dataclass(frozen=True, eq=False)  # each is one of its plan's, and a key
class AblationRun:
    """One variant on one data set with one seed; `stages` by planned name, in order."""

    variant: str
    seed: int
    config: Config
    stages: dict[str, PlannedStage]

    @property
    def dataset(self) -> str:
        """Its data set."""
        return self.config.dataset

    @property
    def label(self) -> str:
        """Data set, variant and seed, for messages."""
        return f"{self.dataset}, {self.variant}, seed {self.seed}"

    def place(self, stage: PlannedStage) -> tuple[str, str]:
        """The store and the path in it of one of its artifacts."""
        return self.config.store, stage.key.path


@dataclass(frozen=True)
class PlannedArtifact:
    """One artifact that has to be there: a stage of `run`, which the `n_runs` runs that it serves share."""

    run: AblationRun
    stage: PlannedStage
    n_runs: int


@dataclass(frozen=True)
class AblationPlan:
    """An ablation on one configuration a data set; `runs` are in the order in which they are finished."""

    ablation: Ablation
    configs: dict[str, Config]
    stores: dict[str, ArtifactStore]
    runs: tuple[AblationRun, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """What is measured of every run."""
        return (LLM, FUSED) if self.ablation.fused else (LLM,)

    @cached_property
    def work(self) -> list[PlannedArtifact]:
        """Every artifact once: those that several runs share first, then run by run what each has for itself."""
        first: dict[tuple[str, str], tuple[AblationRun, PlannedStage]] = {}
        n_runs = Counter[tuple[str, str]]()
        for run in self.runs:
            for stage in run.stages.values():
                first.setdefault(run.place(stage), (run, stage))
                n_runs[run.place(stage)] += 1
        work = [PlannedArtifact(run, stage, n_runs[place]) for place, (run, stage) in first.items()]
        return sorted(work, key=lambda artifact: artifact.n_runs == 1)

    def identical_runs(self) -> list[tuple[AblationRun, AblationRun]]:
        """Runs that come out as the very same model as an earlier one of the same seed."""
        first: dict[tuple[str, int, str], AblationRun] = {}
        pairs = []
        for run in self.runs:
            *_, last = run.stages.values()
            twin = first.setdefault((run.dataset, run.seed, last.key.path), run)
            if twin is not run:
                pairs.append((twin, run))
        return pairs

    def summary_lines(self) -> Iterator[str]:
        """Lines for people: how many runs, which artifacts they share, and which of these are in the store already."""
        factors = {
            "variant": len(self.ablation.variants),
            "data set": len(self.configs),
            "seed": len(self.ablation.seeds),
        }
        asked = " x ".join(_counted(n, what) for what, n in factors.items())
        yield f"{self.ablation.name}: {asked} = {_counted(len(self.runs), 'run')}, {self.ablation.split} targets"
        there = {(name, a.manifest.key.path) for name, store in self.stores.items() for a in store.list()}
        for shared, what in ((True, "shared by runs"), (False, "of one run alone")):
            artifacts = [work for work in self.work if (work.n_runs > 1) is shared]
            n_there = sum(work.run.place(work.stage) in there for work in artifacts)
            by_stage = Counter(work.stage.stage.name for work in artifacts)
            counts = ", ".join(f"{name} {n}" for name, n in by_stage.items())
            line = f"  {_counted(len(artifacts), 'artifact')} {what}, {n_there} of them there already"
            yield f"{line}: {counts}" if counts else line
        for twin, run in self.identical_runs():
            yield f"  {run.label} is the same model as {twin.variant}: its settings change nothing there"


def plan_ablation(ablation: Ablation, configs: Sequence[Config]) -> AblationPlan:
    """Work out all runs, and refuse before any work what cannot run.

    Args:
        ablation: what is compared.
        configs: one configuration a data set.

    Raises:
        ConfigError: a variant is refused (as by `configs_of`), a data set stands twice, or this machine lacks a device.
        DataError: a raw file is missing.
    """
    names = [config.dataset for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"datasets: {name!r} stands there twice; give one of them another name in `dataset`")
    permissions.check_writable("out", ablation.folder)
    asked = {config.dataset: configs_of(ablation, config) for config in configs}
    for config in configs:
        permissions.check_roots(config)  # before any store is opened
    stores = {config.store: ArtifactStore(config.store) for config in configs}
    runs = []
    for seed in ablation.seeds:  # seeds outermost: after the first one every row has a figure
        for config in configs:
            for variant in ablation.variants:
                run_config = asked[config.dataset][variant.name, seed]
                runs.append(AblationRun(variant.name, seed, *_planned(ablation, run_config, stores[run_config.store])))
    return AblationPlan(ablation, {config.dataset: config for config in configs}, stores, tuple(runs))


def record_planned_runs(plan: AblationPlan) -> None:
    """Write down what every seed of every data set uses, so that garbage collection keeps it."""
    for dataset, config in plan.configs.items():
        for seed in plan.ablation.seeds:
            runs = [run for run in plan.runs if (run.dataset, run.seed) == (dataset, seed)]
            keys = {stage.key.path: stage.key for run in runs for stage in run.stages.values()}
            name = f"ablation/{plan.ablation.name} on {plan.ablation.split}, seed {seed}"
            record_run(plan.stores[config.store], name, list(keys.values()))


def _planned(ablation: Ablation, config: Config, store: ArtifactStore) -> tuple[Config, dict[str, PlannedStage]]:
    """The stages that a run's figures need, and the configuration that asks for them.

    The LLM's lists are those of `decode` where a run of the whole pipeline left them; else as few targets as may be are
    decoded of the split that is not measured.
    """
    if ablation.fused:
        return config, pipeline.check(config, goal=recommenders.FUSE)
    whole = pipeline.check(config, goal=recommenders.DECODE)
    if store.find(whole[recommenders.DECODE.name].key):
        return config, whole
    other = "max_test_targets" if ablation.split == "valid" else "max_valid_targets"
    few = min(getattr(config.recommend, other) or _FEW, _FEW)
    config = with_overrides(config, [f"recommend.{other}={few}"])
    return config, pipeline.check(config, goal=recommenders.DECODE)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
