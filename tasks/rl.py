"""The rl stage as a Prefect task."""

from tasks.stage_task import stage_task

TASK = stage_task("rl")
