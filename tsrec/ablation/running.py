"""Builds what an ablation has planned, shared artifacts first.

A stage that fails ends the runs that need it, and no other. Artifacts that exist are found; a stage that was killed
resumes.
"""

import logging
from dataclasses import dataclass, field

from tsrec import permissions, pipeline
from tsrec.ablation.ablation_plan import AblationPlan, AblationRun, record_planned_runs
from tsrec.ablation.run_metrics import RunMetrics, measure
from tsrec.errors import TsrecError
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact
from tsrec.store.host_environment import warn_about_other_environments

logger = logging.getLogger(__name__)


@dataclass
class BuiltAblation:
    """The metrics of the runs that succeeded, and why the others failed, in order."""

    plan: AblationPlan
    measured: dict[AblationRun, RunMetrics] = field(default_factory=dict)
    failures: dict[AblationRun, str] = field(default_factory=dict)


def build_ablation(plan: AblationPlan, build_stage: pipeline.BuildStage = pipeline.build_here) -> BuiltAblation:
    """Build everything that is missing, and measure every run as soon as it is whole.

    Args:
        plan: of `plan_ablation`.
        build_stage: finds or builds one stage; the flow has a task for each.

    Raises:
        ConfigError: the folder of the results cannot be written; nothing is built.
    """
    permissions.writable_folder("out", plan.ablation.folder)
    record_planned_runs(plan)
    builder, built = _ArtifactBuilder(plan, build_stage), BuiltAblation(plan)
    shared = [work for work in plan.work if work.n_runs > 1]
    for number, work in enumerate(shared, start=1):
        purpose = f"shared {number} of {len(shared)}: {work.run.dataset}, for {work.n_runs} runs"
        builder.get(work.run, work.stage, purpose)
    for number, run in enumerate(plan.runs, start=1):
        purpose = f"run {number} of {len(plan.runs)}: {run.label}"
        artifacts = {name: builder.get(run, stage, purpose) for name, stage in run.stages.items()}
        try:
            if lost := builder.missing_artifact_reason(run):
                raise _MissingArtifactError(lost)
            built.measured[run] = measure(run, {name: artifact for name, artifact in artifacts.items() if artifact})
            logger.info("%s: %s", purpose, built.measured[run].summary)
        except TsrecError as error:
            built.failures[run] = str(error)
            logger.error("%s: failed, the other runs go on: %s", purpose, error)
    warn_about_other_environments(builder.artifacts())
    return built


class _MissingArtifactError(TsrecError):
    """A stage that a run needs could not be made."""


class _ArtifactBuilder:
    """Artifacts by their place in the stores, each asked for once, and why some could not be made."""

    def __init__(self, plan: AblationPlan, build_stage: pipeline.BuildStage) -> None:
        self._stores, self._build_stage = plan.stores, build_stage
        self._artifacts: dict[tuple[str, str], Artifact | None] = {}
        self._failures: dict[tuple[str, str], str] = {}

    def get(self, run: AblationRun, stage: PlannedStage, purpose: str) -> Artifact | None:
        """The artifact of a stage of a run, whose parents were asked for before; None where it cannot be made."""
        place = run.config.store, stage.key.path
        if place not in self._artifacts:
            self._artifacts[place] = self._make(run, stage, purpose)
        return self._artifacts[place]

    def artifacts(self) -> list[Artifact]:
        """All that were found or made."""
        return [artifact for artifact in self._artifacts.values() if artifact]

    def missing_artifact_reason(self, run: AblationRun) -> str | None:
        """The first failure among a run's stages; None where it is whole."""
        return next((why for path in run.paths if (why := self._failures.get((run.config.store, path)))), None)

    def _make(self, run: AblationRun, stage: PlannedStage, purpose: str) -> Artifact | None:
        parents: dict[str, Artifact] = {}
        for name in stage.parents.values():
            parent = self._artifacts[run.config.store, run.stages[name].key.path]
            if parent is None:
                return None
            parents[name] = parent
        logger.info("%s: %s", purpose, stage.name)
        try:
            return self._build_stage(stage, self._stores[run.config.store], parents, f"{stage.stage.name} ({purpose})")
        except Exception as error:  # whatever it is, it must not take the other runs down; a kill is none
            if not isinstance(error, TsrecError):
                logger.exception("%s: %s", purpose, stage.name)
            reason = str(error) if isinstance(error, TsrecError) else f"{type(error).__name__}: {error}"
            self._failures[run.config.store, stage.key.path] = f"{stage.name}: {reason}"
            return None
