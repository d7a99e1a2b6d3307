"""A refresh from beginning to end: is there new data, what is planned, how it compares, and promoting it.

`promotion_rule` decides on promotion. The pipeline builds what is planned, or the flow, which hands itself to `run`.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tsrec import data, permissions, pipeline
from tsrec.config import Config
from tsrec.data.fetching import is_copy
from tsrec.errors import CodebookError
from tsrec.pipeline import BuildStage, PlannedStage
from tsrec.pipeline.promotion import promote_first
from tsrec.recommenders.model_lookup import find_model, find_models
from tsrec.recommenders.served_members import fit_served
from tsrec.refresh.bases import INGEST, bases_of, check_bases, extends
from tsrec.refresh.comparison import compare
from tsrec.refresh.drift import measure_drift, rebuild_reasons
from tsrec.refresh.promotion_rule import decide_promotion
from tsrec.refresh.settling import wait_until_settled
from tsrec.store import Artifact, ArtifactStore, FlowRun, Lineage, base_role, locks
from tsrec.store.champions import best_of, champion_of, moves_of, promote
from tsrec.store.disk_errors import explain_disk_errors
from tsrec.store.gc import collect_garbage
from tsrec.store.host_environment import warn_about_other_environments

logger = logging.getLogger(__name__)

_TABLES = ("items", "interactions")  # all that comes out of raw files


@dataclass(frozen=True)
class RefreshPlan:
    """What a refresh builds.

    `config` is the refresh's own. `champion` is None where there is none: then this is a first build. `stages` is empty
    where the raw files are the champion's.
    """

    config: Config
    champion: Artifact | None
    stages: dict[str, PlannedStage]


@dataclass(frozen=True)
class RefreshOutcome:
    """How a refresh ended: `status`, the fingerprint of the `model` it made or found, why, and what was measured."""

    status: Literal["nothing new", "first", "promoted", "not promoted"]
    model: str
    why: str
    summary: dict[str, Any] = field(default_factory=dict)
    rebuild: tuple[str, ...] = ()  # why one is due

    @property
    def message(self) -> str:
        """One line for people."""
        due = f"; a rebuild is due: {', and '.join(self.rebuild)}" if self.rebuild else ""
        return ": ".join(part for part in (self.status, self.model, self.why) if part) + due


_BuildAll = Callable[[Config, Mapping[str, PlannedStage], ArtifactStore], dict[str, Artifact]]
JudgeRefresh = Callable[[ArtifactStore, RefreshPlan, Mapping[str, Artifact]], RefreshOutcome]


def run(
    config: Config,
    store: ArtifactStore | None = None,
    build_stage: BuildStage = pipeline.build_here,
    judge: JudgeRefresh | None = None,
    flow_run: FlowRun | None = None,
) -> RefreshOutcome:
    """Refresh the champion of the configuration's data set; a data set has one refresh at a time.

    Args:
        config: as the champion's run had it; its files may be more or longer by now.
        store: default: the configuration's.
        build_stage: finds or builds one stage; the flow has a task for each.
        judge: `judge_refresh`, or what shows its outcome too.
        flow_run: the flow run that this is part of, for the record.

    Raises:
        ConfigError: the settings are not those that the champion was made with.
        CodebookError: the space of SIDs is full, and `refresh.rebuild` is `ask`.
    """
    permissions.check_roots(config)  # before the store is opened: it may lie where it must not
    store, judge = store or ArtifactStore(config.store), judge or judge_refresh
    build_all = partial(pipeline.build_all, build_stage=build_stage, flow_run=flow_run)
    with contextlib.ExitStack() as held:
        with explain_disk_errors(store.root):
            held.enter_context(locks.hold(store.root / config.dataset / "refresh"))  # who has to wait says for whom
        outcome = _refresh(config, store, build_all, judge)
        if config.refresh.gc_keep and outcome.status != "nothing new":
            collect_garbage(store, config.refresh.gc_keep)
        return outcome


def _refresh(config: Config, store: ArtifactStore, build_all: _BuildAll, judge: JudgeRefresh) -> RefreshOutcome:
    plan = plan_refresh(config, store)
    if not plan.stages:
        return _nothing_new(plan, "the raw files are those of the champion")
    if _has_same_tables(store, plan):
        return _nothing_new(plan, "other raw files, and the same items and interactions as the champion")
    may_start = config.refresh.rebuild == "start" and plan.champion is not None
    try:
        outcome = judge(store, plan, build_all(plan.config, plan.stages, store))
    except CodebookError as error:
        if not may_start:
            raise
        outcome = RefreshOutcome("not promoted", "", "nothing was built", rebuild=(str(error),))
    if not (outcome.rebuild and may_start):
        return outcome
    champion = find_model(Lineage(store), config.dataset)  # perhaps what was made just now
    if rejected := _rejected_rebuild(store, champion):
        logger.warning(
            "%s; %s was one, and was not promoted: none starts by itself again until these codebooks are gone; give "
            "`tsrec run`, and `tsrec models promote`",
            outcome.message,
            rejected,
        )
        return outcome
    logger.warning("%s; it starts now (refresh.rebuild is start)", outcome.message)
    # Champion and rebuild are compared on what neither has learned from.
    ingest = {name: made for name, made in bases_of(Lineage(store), champion).items() if name == INGEST}
    rebuild = RefreshPlan(config, champion, pipeline.check(config, ingest))
    return judge(store, rebuild, build_all(config, rebuild.stages, store))


def _rejected_rebuild(store: ArtifactStore, champion: Artifact) -> str | None:
    """A model with codebooks of its own that was compared with one of the champion's codebooks, and did not replace it.
    Else a rejected rebuild would be made again every night."""
    lineage = Lineage(store)
    champion_codebooks = _codebooks_hash(lineage, champion)
    for artifact in lineage.listed:
        if artifact.manifest.key.stage == "compare":
            old, new = (lineage.listed_parent(artifact, role) for role in (base_role("fuse"), "fuse"))
            if old and new and _codebooks_hash(lineage, old) == champion_codebooks != _codebooks_hash(lineage, new):
                return new.fingerprint
    return None


def _codebooks_hash(lineage: Lineage, fuse: Artifact) -> str | None:
    """What tells a model's codebooks from others; refreshes hand them on as they are. None: imported, or gone."""
    sids = bases_of(lineage, fuse).get("sids")
    codebooks = sids and sids.manifest.files.get("codebooks.parquet")
    return codebooks.sha256 if codebooks else None


def plan_refresh(config: Config, store: ArtifactStore) -> RefreshPlan:
    """Find the champion, compare the raw files with its own, and plan what they ask for.

    Raises:
        ConfigError: the settings are not those that the champion was made with.
        ArtifactError: the champion is gone.
        DataError: a raw file is missing, or is being written and does not settle.
    """
    read = data.STAGE.raw_inputs(config.ingest).values()
    written_here = (path for path in read if isinstance(path, Path) and not is_copy(path))
    wait_until_settled(written_here, config.refresh.settle_s)
    if champion_of(store, config.dataset) is None:
        logger.info("%s has no champion: this refresh builds everything", config.dataset)
        return RefreshPlan(config, None, pipeline.check(config))
    config = config.of_a_refresh()
    lineage = Lineage(store)
    champion = find_model(lineage, config.dataset)
    bases = bases_of(lineage, champion)
    stages = pipeline.check(config, bases)
    if INGEST in bases and _has_same_raw_data(stages[INGEST], bases[INGEST]):
        return RefreshPlan(config, champion, {})
    check_bases(config, stages)
    return RefreshPlan(config, champion, stages)


def judge_refresh(store: ArtifactStore, plan: RefreshPlan, artifacts: Mapping[str, Artifact]) -> RefreshOutcome:
    """Judge what was built against the champion, and promote it where the rule says so."""
    config = plan.config
    warn_about_other_environments([*artifacts.values(), *filter(None, [plan.champion])])
    fuse = artifacts["fuse"].fingerprint
    if plan.champion is None:
        if config.refresh.refit:
            fit_served(store, artifacts["fuse"], config)
        promote_first(store, config.dataset, artifacts)
        return RefreshOutcome("first", fuse, "the first model of this data set is its champion")
    best = _previous_best(store, config.dataset)
    comparison = compare(store, plan.champion, best, artifacts, config)
    decision = decide_promotion(comparison, artifacts["sids"], config, fuse, moves_of(store, config.dataset))
    if decision.promotes:
        if config.refresh.refit:
            fit_served(store, artifacts["fuse"], config)
        previous_best = (best or plan.champion).fingerprint
        remaining_best = None if decision.is_best or not extends(plan.stages) else previous_best
        promote(store, config.dataset, fuse, f"refresh: {decision.why}", decision.metrics, remaining_best)
    drift = measure_drift(bases_of(Lineage(store), plan.champion), artifacts)
    outcome = RefreshOutcome(
        "promoted" if decision.promotes else "not promoted",
        fuse,
        decision.why,
        {**comparison.json("summary"), **decision.metrics, **{name: round(value, 6) for name, value in drift.items()}},
        # Where nothing is extended, this is the rebuild.
        tuple(rebuild_reasons(drift, config.refresh.drift)) if extends(plan.stages) else (),
    )
    logger.info("measured: %s", ", ".join(f"{name} {value:g}" for name, value in outcome.summary.items()))
    logger.info("%s", outcome.message)
    return outcome


def _previous_best(store: ArtifactStore, dataset: str) -> Artifact | None:
    """The best champion since the last rebuild, where that is another than the champion: refreshes that are each not
    worse than the one before could else go down step by step."""
    best = best_of(moves_of(store, dataset))
    if best is None:
        return None
    lineage = Lineage(store)
    if best not in {model.fingerprint for model in find_models(lineage, dataset)}:
        logger.warning("%s: its best champion since the last rebuild, %s, is gone from the store", dataset, best)
        return None
    return find_model(lineage, dataset, best)


def _nothing_new(plan: RefreshPlan, why: str) -> RefreshOutcome:
    assert plan.champion is not None
    return RefreshOutcome("nothing new", plan.champion.fingerprint, f"{why} of {plan.champion.manifest.created[:19]}")


def _has_same_raw_data(planned: PlannedStage, base: Artifact) -> bool:
    """The same files, read by the same settings; another version of the code is no news."""
    base_key = base.manifest.key
    return planned.key.raw_inputs == base_key.raw_inputs and planned.key.config == base_key.config


def _has_same_tables(store: ArtifactStore, plan: RefreshPlan) -> bool:
    """Whether the raw files, cut, named or repeated otherwise, come to the very tables that the champion was made from.
    Builds them where they are missing."""
    base = bases_of(Lineage(store), plan.champion).get(INGEST) if plan.champion else None
    if base is None:
        return False
    ingest = pipeline.build(plan.stages[INGEST], store, {})
    hashes = [[made.manifest.files[f"{name}.parquet"].sha256 for name in _TABLES] for made in (base, ingest)]
    return hashes[0] == hashes[1]
