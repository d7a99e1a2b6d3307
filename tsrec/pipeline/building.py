"""Building what is planned, stage by stage, without Prefect: `run(load_config("configs/industrial.yaml"))` from a
notebook does what the flow does.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tsrec.config import Config, Section, canonical
from tsrec.errors import DataError
from tsrec.machine.quiet import quiet_libraries
from tsrec.machine.threads import one_blas_thread
from tsrec.pipeline.force_from import finish_forced_run, mark_for_rebuild
from tsrec.pipeline.planning import STAGES, PlannedStage, check
from tsrec.pipeline.promotion import promote_first
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter, FlowRun, cached_sha256, canonical_json, record_run
from tsrec.store.host_environment import warn_about_other_environments
from tsrec.store.shards import Shard
from tsrec.store.shared_shards import Distribute, SharedShards, remove_remote_shards

logger = logging.getLogger(__name__)

BuildStage = Callable[[PlannedStage, ArtifactStore, Mapping[str, Artifact], str], Artifact]
"""Finds or builds a planned stage from its parents' artifacts by planned name; people know it by the text."""


def build_here(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact], title: str) -> Artifact:
    """Find or build a planned stage in this process."""
    return build(planned, store, parents)


def build_all(
    config: Config,
    stages: Mapping[str, PlannedStage],
    store: ArtifactStore,
    build_stage: BuildStage = build_here,
    flow_run: FlowRun | None = None,
) -> dict[str, Artifact]:
    """Record a run, build every planned artifact that does not exist yet, and return all of them by planned name."""
    artifacts: dict[str, Artifact] = {}
    record_planned_run(config, stages, store, flow_run)
    for name, planned in stages.items():
        logger.info("%s: %s", name, planned.key.path)
        parents = {parent: artifacts[parent] for parent in planned.parents.values()}
        artifacts[name] = build_stage(planned, store, parents, name)
    return artifacts


def run(
    config: Config,
    store: ArtifactStore | None = None,
    force_from: str | None = None,
    build_stage: BuildStage = build_here,
    flow_run: FlowRun | None = None,
) -> dict[str, Artifact]:
    """Build every artifact of a run that does not exist yet, and return all of them by planned name.

    Its model becomes the champion where the data set has none.

    Args:
        config: the configuration.
        store: default: the configuration's.
        force_from: a stage that is run again, with what follows, though its artifacts exist.
        build_stage: finds or builds one stage; the flow has a task for each.
        flow_run: the flow run that this is part of, for the record.
    """
    stages = check(config)  # before the store is opened: it may lie where it must not
    store = store or ArtifactStore(config.store)
    if force_from:
        stages = mark_for_rebuild(stages, force_from, store)
    artifacts = build_all(config, stages, store, build_stage, flow_run)
    warn_about_other_environments(artifacts.values())
    if force_from:
        finish_forced_run(stages, force_from, store)
    promote_first(store, config.dataset, artifacts)
    return artifacts


def record_planned_run(
    config: Config, planned: Mapping[str, PlannedStage], store: ArtifactStore, flow_run: FlowRun | None = None
) -> None:
    """Write down which artifacts a run that starts now uses, so that garbage collection keeps them.

    A run without a profile counts as one of its own, named by its settings: data may change, they may not.
    """
    settings = hashlib.sha256(canonical_json(canonical(config)).encode()).hexdigest()[:8]
    record_run(store, config.profile or f"settings-{settings}", [stage.key for stage in planned.values()], flow_run)


def build(
    planned: PlannedStage,
    store: ArtifactStore,
    artifacts: Mapping[str, Artifact],
    distribute: Distribute | None = None,
) -> Artifact:
    """Return the stage's artifact, building it where the store has none.

    Args:
        planned: the stage.
        store: where it is looked for, and built.
        artifacts: by planned name; those that are its parents are handed to it.
        distribute: has other processes make shards of the stage first.
    """
    parents = {role: artifacts[name] for role, name in planned.parents.items()}

    def make(writer: ArtifactWriter) -> None:
        bases = {role: store.verified(base) for role, base in planned.bases.items()}
        with quiet_libraries(), one_blas_thread():
            if planned.stage.shared_from is None:
                planned.stage.run(planned.config, parents | bases, writer)
            else:
                job = StageShards(planned.key.path, planned.stage.name, planned.config, parents | bases)
                shared = SharedShards(job, store, writer.work)
                shared.fetch()
                sharded = planned.stage.run(planned.config, parents | bases, writer)
                assert sharded
                if distribute:
                    shared.have_made(sharded.shards, distribute, planned.stage.shared_from)
                sharded.write()
        _check_unchanged(planned)

    artifact = store.build(planned.key, make, planned.rebuild_before)
    if planned.stage.shared_from is not None:
        remove_remote_shards(store, planned.key.path)
    return artifact


@dataclass(frozen=True)
class StageShards:
    """The shards of a planned stage, for processes that make some: its name, settings and parents by role.

    `path` is that of the artifact in the store.
    """

    path: str
    stage: str
    config: Section
    parents: dict[str, Artifact]

    def shards(self, store: ArtifactStore, work: Path) -> Sequence[Shard]:
        """The stage's shards; its parents are read from `store`."""
        (stage,) = (stage for stage in STAGES if stage.name == self.stage)
        parents = {role: store.verified(artifact) for role, artifact in self.parents.items()}
        sharded = stage.run(self.config, parents, ArtifactWriter(work.parent))
        assert sharded
        return sharded.shards


def _check_unchanged(planned: PlannedStage) -> None:
    """Raise DataError where a raw file has changed since the stage was planned, so that its fingerprint is wrong."""
    for name, raw in planned.stage.raw_inputs(planned.config).items():
        if isinstance(raw, Path) and raw.is_file() and cached_sha256(raw) != planned.key.raw_inputs.get(name):
            raise DataError(f"{raw}: has changed, or come, since this run began; run again to read it as it is now")
