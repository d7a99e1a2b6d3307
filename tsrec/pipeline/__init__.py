"""The chain of stages: planning what a configuration asks for, building it in order, finding what was built."""

from tsrec.pipeline.building import (
    BuildStage,
    DistributeShards,
    build,
    build_all,
    build_here,
    make_shards,
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
    "DistributeShards",
    "PlannedStage",
    "build",
    "build_all",
    "build_here",
    "check",
    "find_finished",
    "make_shards",
    "plan",
    "record_planned_run",
    "resolve_model",
    "run",
]
