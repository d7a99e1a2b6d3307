"""The chain of stages: which artifacts a configuration asks for, and building them in order.

This is the whole pipeline without Prefect: `run(load_config("configs/industrial.yaml"))` from a notebook does what
the flow does.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tsrec import backbone, baselines, data, embed, evaluate, finetune, keywords, permissions, report, sa_init, sids
from tsrec.config import Config, Section, canonical
from tsrec.stage import Stage
from tsrec.store import (
    SHARED,
    Artifact,
    ArtifactKey,
    ArtifactStore,
    canonical_json,
    fingerprint,
    known_sha256,
    record_run,
)

logger = logging.getLogger(__name__)

STAGES: tuple[Stage, ...] = (
    data.STAGE,
    keywords.STAGE,
    embed.STAGE,
    sids.STAGE,
    backbone.STAGE,
    sa_init.STAGE,
    finetune.STAGE,
    baselines.STAGE,
    evaluate.STAGE,
    report.STAGE,
)


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its configuration and the key of the artifact it will make."""

    stage: Stage
    config: Section
    key: ArtifactKey

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name


def plan(config: Config) -> dict[str, PlannedStage]:
    """Work out every artifact of a run, in order, without building any: fingerprints need only configurations and
    the hashes of raw files. Stages that the configuration does not need (a teacher, when token semantics are
    imported) are left out.

    Raises:
        DataError, ConfigError: a raw file is missing, or lies where runs must not read (see `permissions`).
    """
    permissions.check_roots(config)
    needed = _needed(config)
    planned: dict[str, PlannedStage] = {}
    for stage in STAGES:
        if stage.name not in needed:
            continue
        section = stage.config(config)
        parents = {name: planned[name].key.fingerprint for name in stage.parents(config)}
        raw = _raw_identities(stage, section)
        settings = canonical(section)
        mark = fingerprint(stage.name, stage.version, settings, parents, raw)
        # The backbone depends on no data: all data sets of a store share it.
        dataset = config.dataset if stage.name != backbone.STAGE.name else SHARED
        key = ArtifactKey(
            dataset=dataset,
            stage=stage.name,
            fingerprint=mark,
            stage_version=stage.version,
            config=settings,
            parents=parents,
            raw_inputs=raw,
        )
        planned[stage.name] = PlannedStage(stage, section, key)
    return planned


def record(config: Config, planned: Mapping[str, PlannedStage], store: ArtifactStore) -> None:
    """Write down which artifacts a run that starts now uses, so that garbage collection keeps them.

    A run without a profile counts as one of its own, named by its settings: data may change, they may not.
    """
    settings = hashlib.sha256(canonical_json(canonical(config)).encode()).hexdigest()[:8]
    record_run(store, config.profile or f"settings-{settings}", [stage.key for stage in planned.values()])


def build(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact]) -> Artifact:
    """Return the stage's artifact, building it from its parents' where the store has none."""
    wanted = {name: parents[name] for name in planned.key.parents}
    return store.build(planned.key, lambda writer: planned.stage.run(planned.config, wanted, writer))


def run(config: Config, store: ArtifactStore | None = None) -> dict[str, Artifact]:
    """Build every artifact of a run that does not exist yet, and return all of them by stage."""
    stages = plan(config)  # before the store is opened: it may lie where it must not
    store = store or ArtifactStore(config.store)
    artifacts: dict[str, Artifact] = {}
    record(config, stages, store)
    for name, planned in stages.items():
        logger.info("%s: %s", name, planned.key.path)
        artifacts[name] = build(planned, store, artifacts)
    return artifacts


def _raw_identities(stage: Stage, section: Section) -> dict[str, str]:
    """What identifies each input from outside the store: a file's hash, or the name of a published content."""
    raw: dict[str, str] = {}
    for name, read in sorted(stage.raw_inputs(section).items()):
        if isinstance(read, Path):
            permissions.check_readable(f"{stage.name}, {name}", read)
            raw[name] = known_sha256(read)
        else:
            raw[name] = read
    return raw


def _needed(config: Config) -> set[str]:
    by_name = {stage.name: stage for stage in STAGES}
    needed, queue = set(), [report.STAGE.name]
    while queue:
        name = queue.pop()
        if name not in needed:
            needed.add(name)
            queue.extend(by_name[name].parents(config))
    return needed
