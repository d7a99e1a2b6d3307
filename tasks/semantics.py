"""The semantics stage as a Prefect task; a teacher behind a network is worth asking again, its shards are kept."""

from tasks.stage_task import stage_task

TASK = stage_task("semantics", retries=2, retry_delay_s=30)
