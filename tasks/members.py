"""The members of the fusion beside the LLM: one task each."""

from tasks.stage_task import stage_task
from tsrec.recommenders import MEMBER_STAGES

TASKS = {stage.name: stage_task(stage.name) for stage in MEMBER_STAGES}
