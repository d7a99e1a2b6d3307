"""The evaluate stage as a Prefect task; shows the metrics of the fusion and its members in the UI."""

from prefect.artifacts import create_table_artifact

from tasks.stage_task import artifact_key, stage_task
from tsrec.evaluate.summary import headline, metrics_table
from tsrec.store import Artifact


def publish_metrics(artifact: Artifact) -> None:
    """One row per method, the fusion first."""
    create_table_artifact(
        metrics_table(artifact.frame("metrics"), artifact.frame("differences")).reset_index().to_dict("records"),
        key=artifact_key("metrics", artifact.manifest.key.dataset),
        description=headline(artifact.frame("differences")),
    )


TASK = stage_task("evaluate", publish=publish_metrics)
