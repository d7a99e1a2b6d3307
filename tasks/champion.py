"""Shows a finished run beside the data set's champion in the UI."""

from collections.abc import Mapping

from prefect.artifacts import create_table_artifact

from tasks.stage_task import artifact_key
from tsrec.pipeline.promotion import beside_champion
from tsrec.store import Artifact, ArtifactStore


def publish_beside_champion(store: ArtifactStore, dataset: str, artifacts: Mapping[str, Artifact]) -> None:
    """One row for this run, one for the champion; nothing where this run is the champion, or there is none."""
    rows, same = beside_champion(store, dataset, artifacts)
    if not rows:
        return
    create_table_artifact(
        rows,
        key=artifact_key("champion", dataset),
        description="This run beside the champion, on the same targets. `tsrec models promote` makes it the champion."
        if same
        else "This run beside the champion, each on its own targets: they cannot be compared. A refresh compares them.",
    )
