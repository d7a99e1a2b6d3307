"""The evaluate stage as a Prefect task; shows the metrics of the model and the baselines in the UI."""

from collections.abc import Mapping

from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State

from tasks.stage_task import find_or_build, stage_task
from tsrec.evaluate.summary import metrics_table
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact, ArtifactStore


def _body(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact]) -> State[Artifact]:
    state = find_or_build(planned, store, parents)
    table = metrics_table(state.data.frame("metrics")).reset_index()
    create_table_artifact(
        table.to_dict("records"),
        key=f"metrics-{planned.key.dataset.replace('_', '-').replace('.', '-')}",
        description="The model and its baselines on the same targets",
    )
    return state


TASK = stage_task("evaluate", _body)
