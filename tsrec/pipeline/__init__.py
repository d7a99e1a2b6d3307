"""The chain of stages: planning what a configuration asks for, building it in order, finding what was built."""

from tsrec.pipeline.building import Build, Spread, build, build_all, make_shards, record, run
from tsrec.pipeline.finding import PROFILE, finished, model_of
from tsrec.pipeline.planning import STAGES, Bases, PlannedStage, check, plan

__all__ = [
    "PROFILE",
    "STAGES",
    "Bases",
    "Build",
    "PlannedStage",
    "Spread",
    "build",
    "build_all",
    "check",
    "finished",
    "make_shards",
    "model_of",
    "plan",
    "record",
    "run",
]
