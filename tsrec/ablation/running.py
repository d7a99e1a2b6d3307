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
    artifacts, built = _Artifacts(plan, build_stage), BuiltAblation(plan)
    shared = [work for work in plan.work if work.n_runs > 1]
    for number, work in enumerate(shared, start=1):
        artifacts.make(
            work.run, work.stage, f"shared {number} of {len(shared)}: {work.run.dataset}, for {work.n_runs} runs"
        )
    for number, run in enumerate(plan.runs, start=1):
        purpose = f"run {number} of {len(plan.runs)}: {run.label}"
        for stage in run.stages.values():
            artifacts.make(run, stage, purpose)
        failure = artifacts.first_failure(run)
        if failure is None:
            try:
                built.measured[run] = measure(run, artifacts.of_run(run))
            except TsrecError as error:
                failure = str(error)
        if failure is None:
            logger.info("%s: %s", purpose, built.measured[run].summary)
        else:
            built.failures[run] = failure
            logger.error("%s: failed, the other runs go on: %s", purpose, failure)
    warn_about_other_environments(artifacts.found.values())
    return built


class _Artifacts:
    """Artifacts by store and path, each asked for once, and why some could not be made."""

    def __init__(self, plan: AblationPlan, build_stage: pipeline.BuildStage) -> None:
        self._stores, self._build_stage = plan.stores, build_stage
        self.found: dict[tuple[str, str], Artifact] = {}
        self._failures: dict[tuple[str, str], str] = {}

    def of_run(self, run: AblationRun) -> dict[str, Artifact]:
        """All artifacts of a run without failures, by planned name."""
        return {name: self.found[run.place(stage)] for name, stage in run.stages.items()}

    def first_failure(self, run: AblationRun) -> str | None:
        """Why a stage of a run could not be made; None where all were."""
        places = map(run.place, run.stages.values())
        return next((self._failures[place] for place in places if place in self._failures), None)

    def make(self, run: AblationRun, stage: PlannedStage, purpose: str) -> None:
        """Find or build a stage of a run, whose parents were made before. Without one of them, nothing is done."""
        place = run.place(stage)
        parents = {name: self.found.get(run.place(run.stages[name])) for name in stage.parents.values()}
        whole = {name: parent for name, parent in parents.items() if parent}
        if place in self.found or place in self._failures or len(whole) < len(parents):
            return
        logger.info("%s: %s", purpose, stage.name)
        try:
            self.found[place] = self._build_stage(
                stage, self._stores[run.config.store], whole, f"{stage.stage.name} ({purpose})"
            )
        except Exception as error:  # whatever it is, it must not take the other runs down; a kill is none
            if not isinstance(error, TsrecError):
                logger.exception("%s: %s", purpose, stage.name)
            reason = str(error) if isinstance(error, TsrecError) else f"{type(error).__name__}: {error}"
            self._failures[place] = f"{stage.name}: {reason}"
