"""The chain of stages: planning what a configuration asks for, building it in order, finding what was built."""

from tsrec.pipeline.building import (
    BuildStage,
    build,
    build_all,
    build_here,
    record_planned_run,
    run,
)
from tsrec.pipeline.model_lookup import PROFILE, find_finished, resolve_model
from tsrec.pipeline.planning import STAGES, Bases, PlannedStage, check, plan

__all__ = [
    "PROFILE",
    "STAGES",
    "Bases",
    "BuildStage",
    "PlannedStage",
    "build",
    "build_all",
    "build_here",
    "check",
    "find_finished",
    "plan",
    "record_planned_run",
    "resolve_model",
    "run",
]
