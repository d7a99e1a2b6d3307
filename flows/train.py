"""The training flow: every stage as one task, *Cached* when its artifact exists."""

import flows.prefect_environment  # noqa: F401, I001  (before anything imports prefect)

from collections.abc import Mapping
from typing import Annotated

from prefect import get_run_logger
from pydantic import Field

from flows import run_logging
from flows.masked_flow import masked_flow
from tasks import (
    backbone,
    candidates,
    decode,
    embed,
    evaluate,
    finetune,
    fuse,
    ingest,
    keywords,
    members,
    refit,
    report,
    rl,
    sa_init,
    semantics,
    sids,
    soft_targets,
)
from tasks.champion import publish_beside_champion
from tasks.dask_shards import task_runner_by_environment
from tasks.ui import show_in_ui
from tsrec import pipeline
from tsrec.config import Config
from tsrec.data.data_quality import data_quality_lines
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact, ArtifactStore

_TASKS = {
    "ingest": ingest.TASK,
    "keywords": keywords.TASK,
    "embed": embed.TASK,
    "sids": sids.TASK,
    "backbone": backbone.TASK,
    "sa_init": sa_init.TASK,
    "semantics": semantics.TASK,
    "soft_targets": soft_targets.TASK,
    "finetune": finetune.TASK,
    "rl": rl.TASK,
    "decode": decode.TASK,
    **members.TASKS,
    "candidates": candidates.TASK,
    "refit": refit.TASK,
    "fuse": fuse.TASK,
    "evaluate": evaluate.TASK,
    "report": report.TASK,
}

ForceFrom = Annotated[str, Field(json_schema_extra={"enum": [stage.name for stage in pipeline.STAGES]})]

run_logging.install()


@masked_flow(
    name="train",
    flow_run_name="train-{config.dataset}",
    persist_result=False,
    task_runner=task_runner_by_environment(),
    on_failure=[run_logging.log_refusal],
)
def train(
    config: Config = Config(),  # noqa: B008  (frozen, and the UI's form shows its values)
    force_from: ForceFrom | None = None,
) -> dict[str, str]:
    """From raw files to a trained, evaluated, explained recommender.

    Args:
        config: All settings, section by section; without a profile, those of MovieLens-100K.
        force_from: A stage that is run again, with all that follows, though its artifacts exist.

    Returns:
        stage -> folder of its artifact.

    Raises:
        TsrecError: a stage cannot go on; its message says what to do.
    """
    run_logging.install()
    logger = get_run_logger()
    artifacts = pipeline.run(config, force_from=force_from, build=run_stages)
    show_in_ui(publish_beside_champion, ArtifactStore(config.store), config.dataset, artifacts)
    for line in data_quality_lines(artifacts["ingest"]):
        logger.info("raw data: %s", line)
    logger.info("report: %s", artifacts["report"].file("report.html"))
    return {name: str(artifact.path) for name, artifact in artifacts.items()}


def run_stages(config: Config, stages: Mapping[str, PlannedStage], store: ArtifactStore) -> dict[str, Artifact]:
    """Record a run, and build what is missing of it, a task a stage; all artifacts by planned name."""
    artifacts: dict[str, Artifact] = {}
    pipeline.record_planned_run(config, stages, store)
    for name, planned in stages.items():
        parents = {parent: artifacts[parent] for parent in planned.parents.values()}
        artifacts[name] = run_stage(planned, store, parents, name)
    return artifacts


def run_stage(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact], name: str) -> Artifact:
    """Find or build one artifact by the stage's task, which the UI calls `name`."""
    task = _TASKS[planned.stage.name].with_options(task_run_name=name)
    # A task that returns a State (to be named Cached) hands the very State to its caller.
    artifact: Artifact = task(planned, store, parents, return_state=True).result()
    return artifact
