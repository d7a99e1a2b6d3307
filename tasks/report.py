"""The report stage as a Prefect task; shows where the page lies, and its main picture, in the UI."""

import base64

from prefect.artifacts import create_markdown_artifact

from tasks.stage_task import artifact_key, stage_task
from tsrec.store import Artifact

PICTURE = "images/ndcg.png"


def publish_report(artifact: Artifact) -> None:
    """The page's place and the plot of NDCG, embedded so that any browser shows it."""
    dataset = artifact.manifest.key.dataset
    png = base64.b64encode(artifact.file(PICTURE).read_bytes()).decode("ascii")
    create_markdown_artifact(
        f"# {dataset}\n\n`{artifact.file('report.html')}`\n\n![NDCG](data:image/png;base64,{png})",
        key=artifact_key("report", dataset),
        description="Where the report lies",
    )


TASK = stage_task("report", publish=publish_report)
