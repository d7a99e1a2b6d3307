"""A refresh from beginning to end: is there anything new, what is planned, and does it become the champion.

Building what is planned is the pipeline's business, or the flow's, which hands itself to `run`.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tsrec import data, permissions, pipeline
from tsrec.config import Config
from tsrec.data.fetching import is_copy
from tsrec.errors import CodebookError
from tsrec.pipeline import Build, PlannedStage
from tsrec.pipeline.promotion import promote_first
from tsrec.recommenders.model_lookup import find_model, find_models
from tsrec.recommenders.served_members import fit_served
from tsrec.refresh.bases import INGEST, bases_of, check_bases, extends
from tsrec.refresh.comparison import compare
from tsrec.refresh.drift import measure_drift, rebuild_reasons
from tsrec.refresh.rule import judge
from tsrec.refresh.settling import wait_until_settled
from tsrec.store import Artifact, ArtifactStore, Lineage, base_role, locks
from tsrec.store.champions import Move, best_of, champion_of, moves_of, promote
from tsrec.store.gc import tidy
from tsrec.store.hosts import tell_differences
from tsrec.store.refusals import in_words

logger = logging.getLogger(__name__)

_TABLES = ("items", "interactions")  # all that comes out of raw files


@dataclass(frozen=True)
class Started:
    """What a refresh starts from: its own `config`, the `champion` (None: there is none, and this is a first build),
    and the `stages` to build; none where the raw files are the champion's."""

    config: Config
    champion: Artifact | None
    stages: dict[str, PlannedStage]


@dataclass(frozen=True)
class Outcome:
    """How a refresh ended: the model that was made (or found), what became of it and `why`, and what was measured."""

    status: Literal["nothing new", "first", "promoted", "not promoted"]
    model: str
    why: str
    summary: dict[str, Any] = field(default_factory=dict)
    rebuild: tuple[str, ...] = ()  # why one is due

    @property
    def words(self) -> str:
        """One line for people."""
        due = f"; a rebuild is due: {', and '.join(self.rebuild)}" if self.rebuild else ""
        return ": ".join(part for part in (self.status, self.model, self.why) if part) + due


Judge = Callable[[ArtifactStore, Started, Mapping[str, Artifact]], Outcome]


def run(
    config: Config,
    store: ArtifactStore | None = None,
    build: Build = pipeline.build_all,
    judge: Judge | None = None,
) -> Outcome:
    """Refresh the champion of the configuration's data set; a data set has one refresh at a time.

    Args:
        config: as the champion's run had it; its files may be more or longer by now.
        store: default: the configuration's.
        build: builds what is planned; the flow has a task a stage.
        judge: `finish`, or what shows its outcome too.

    Raises:
        ConfigError: the settings are not those that the champion was made with.
        CodebookError: the space of SIDs is full, and `refresh.rebuild` is `ask`.
    """
    permissions.check_roots(config)  # before the store is opened: it may lie where it must not
    store, judge = store or ArtifactStore(config.store), judge or finish
    with _one_at_a_time(config, store):
        outcome = _refresh(config, store, build, judge)
        if config.refresh.gc_keep and outcome.status != "nothing new":
            tidy(store, config.refresh.gc_keep)
        return outcome


def _refresh(config: Config, store: ArtifactStore, build: Build, judge: Judge) -> Outcome:
    started = begin(config, store)
    if not started.stages:
        return _nothing_new(started, "the raw files are those of the champion")
    if _same_tables(store, started):
        return _nothing_new(started, "other raw files, and the same items and interactions as the champion")
    may_start = config.refresh.rebuild == "start" and started.champion is not None
    try:
        outcome = judge(store, started, build(started.config, started.stages, store))
    except CodebookError as error:
        if not may_start:
            raise
        outcome = Outcome("not promoted", "", "nothing was built", rebuild=(str(error),))
    if not (outcome.rebuild and may_start):
        return outcome
    champion = find_model(Lineage(store), config.dataset)  # perhaps what was made just now
    if refused := _refused_rebuild(store, champion):
        logger.warning(
            "%s; %s was one, and was not promoted: none starts by itself again until these codebooks are gone; give "
            "`tsrec run`, and `tsrec models promote`",
            outcome.words,
            refused,
        )
        return outcome
    logger.warning("%s; it starts now (refresh.rebuild is start)", outcome.words)
    # Champion and rebuild are compared on what neither has learned from.
    ingest = {name: made for name, made in bases_of(Lineage(store), champion).items() if name == INGEST}
    anew = Started(config, champion, pipeline.check(config, ingest))
    return judge(store, anew, build(config, anew.stages, store))


def _refused_rebuild(store: ArtifactStore, champion: Artifact) -> str | None:
    """A model with codebooks of its own that was compared with one of the champion's codebooks, and did not replace it.
    Else a refused rebuild would be made again every night."""
    lineage = Lineage(store)
    mine = _codebooks(lineage, champion)
    for artifact in lineage.listed:
        if artifact.manifest.key.stage == "compare":
            old, new = (lineage.listed_parent(artifact, role) for role in (base_role("fuse"), "fuse"))
            if old and new and _codebooks(lineage, old) == mine != _codebooks(lineage, new):
                return new.fingerprint
    return None


def _codebooks(lineage: Lineage, fuse: Artifact) -> str | None:
    """What tells a model's codebooks from others; refreshes hand them on as they are. None: imported, or gone."""
    sids = bases_of(lineage, fuse).get("sids")
    codebooks = sids and sids.manifest.files.get("codebooks.parquet")
    return codebooks.sha256 if codebooks else None


@contextlib.contextmanager
def _one_at_a_time(config: Config, store: ArtifactStore) -> Iterator[None]:
    """Hold the data set's refresh; who has to wait says for whom."""
    with contextlib.ExitStack() as stack:
        with in_words(store.root):
            stack.enter_context(locks.hold(store.root / config.dataset / "refresh"))
        yield


def begin(config: Config, store: ArtifactStore) -> Started:
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
        return Started(config, None, pipeline.check(config))
    config = config.of_a_refresh()
    lineage = Lineage(store)
    champion = find_model(lineage, config.dataset)
    bases = bases_of(lineage, champion)
    stages = pipeline.check(config, bases)
    if INGEST in bases and _same_data(stages[INGEST], bases[INGEST]):
        return Started(config, champion, {})
    check_bases(config, stages)
    return Started(config, champion, stages)


def finish(store: ArtifactStore, started: Started, artifacts: Mapping[str, Artifact]) -> Outcome:
    """Judge what was built against the champion, and promote it where the rule says so."""
    config = started.config
    tell_differences([*artifacts.values(), *filter(None, [started.champion])])
    fuse = artifacts["fuse"].fingerprint
    if started.champion is None:
        if config.refresh.refit:
            fit_served(store, artifacts["fuse"], config)
        promote_first(store, config.dataset, artifacts)
        return Outcome("first", fuse, "the first model of this data set is its champion")
    best = _best_before(store, config.dataset)
    comparison = compare(store, started.champion, best, artifacts, config)
    verdict = judge(comparison, artifacts["sids"], config)
    if verdict.promotes and (away := _rolled_back(store, config.dataset, fuse)):
        why = f"was rolled back on {away.when[:10]} ({away.why}); `tsrec models promote` if it is to serve again"
        verdict = replace(verdict, promotes=False, why=why)
    if verdict.promotes:
        if config.refresh.refit:
            fit_served(store, artifacts["fuse"], config)
        before = (best or started.champion).fingerprint
        stays_best = None if verdict.is_best or not extends(started.stages) else before
        promote(store, config.dataset, fuse, f"refresh: {verdict.why}", verdict.metrics, stays_best)
    drift = measure_drift(bases_of(Lineage(store), started.champion), artifacts)
    outcome = Outcome(
        "promoted" if verdict.promotes else "not promoted",
        fuse,
        verdict.why,
        {**comparison.json("summary"), **verdict.metrics, **{name: round(value, 6) for name, value in drift.items()}},
        # Where nothing is extended, this is the rebuild.
        tuple(rebuild_reasons(drift, config.refresh.drift)) if extends(started.stages) else (),
    )
    logger.info("measured: %s", ", ".join(f"{name} {value:g}" for name, value in outcome.summary.items()))
    logger.info("%s", outcome.words)
    return outcome


def _best_before(store: ArtifactStore, dataset: str) -> Artifact | None:
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


def _nothing_new(started: Started, why: str) -> Outcome:
    assert started.champion is not None
    return Outcome("nothing new", started.champion.fingerprint, f"{why} of {started.champion.manifest.created[:19]}")


def _same_data(planned: PlannedStage, base: Artifact) -> bool:
    """The same files, read by the same settings; another version of the code is no news."""
    before = base.manifest.key
    return planned.key.raw_inputs == before.raw_inputs and planned.key.config == before.config


def _same_tables(store: ArtifactStore, started: Started) -> bool:
    """Whether the raw files, cut, named or repeated otherwise, come to the very tables that the champion was made from.
    Builds them where they are missing."""
    before = bases_of(Lineage(store), started.champion).get(INGEST) if started.champion else None
    if before is None:
        return False
    now = pipeline.build(started.stages[INGEST], store, {})
    hashes = [[made.manifest.files[f"{name}.parquet"].sha256 for name in _TABLES] for made in (before, now)]
    return hashes[0] == hashes[1]


def _rolled_back(store: ArtifactStore, dataset: str, model: str) -> Move | None:
    """The last move away from a model by a rollback, since it was last promoted: a person's word outweighs the rule."""
    away = None
    for move in moves_of(store, dataset):
        if move.kind == "rollback" and move.previous == model:
            away = move
        elif move.kind == "promote" and move.to == model:
            away = None
    return away
