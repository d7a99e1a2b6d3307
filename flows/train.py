"""The training flow: every stage as one task, *Cached* when its artifact exists."""

from collections.abc import Mapping
from typing import Annotated

from prefect import get_run_logger
from pydantic import Field

from flows.tsrec_flow import this_flow_run, tsrec_flow
from tasks.publishing import publish_beside_champion, show_in_ui
from tasks.stages import STAGE_TASKS
from tsrec import pipeline
from tsrec.config import Config
from tsrec.data.data_quality import data_quality_lines
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact, ArtifactStore

ForceFrom = Annotated[str, Field(json_schema_extra={"enum": [stage.name for stage in pipeline.STAGES]})]


@tsrec_flow("train", run_name="train-{config.dataset}")
def train(
    config: Config = Config(),  # noqa: B008  (frozen, and the UI's form shows its values)
    force_from: ForceFrom | None = None,
) -> dict[str, Artifact]:
    """From raw files to a trained, evaluated, explained recommender.

    Args:
        config: All settings, section by section; without a profile, those of MovieLens-100K.
        force_from: A stage that is run again, with all that follows, though its artifacts exist.

    Returns:
        all artifacts, by planned name.

    Raises:
        TsrecError: a stage cannot go on; its message says what to do.
    """
    logger = get_run_logger()
    artifacts = pipeline.run(config, force_from=force_from, build_stage=run_stage, flow_run=this_flow_run())
    show_in_ui(publish_beside_champion, ArtifactStore(config.store), config.dataset, artifacts)
    for line in data_quality_lines(artifacts["ingest"]):
        logger.info("raw data: %s", line)
    logger.info("report: %s", artifacts["report"].file("report.html"))
    return artifacts


def run_stage(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact], title: str) -> Artifact:
    """Find or build one artifact by the stage's task, which the UI calls `title`."""
    task = STAGE_TASKS[planned.stage.name].with_options(task_run_name=title)
    # A task that returns a State (to be named Cached) hands the very State to its caller.
    artifact: Artifact = task(planned, store, parents, return_state=True).result()
    return artifact
