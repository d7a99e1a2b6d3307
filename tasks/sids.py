"""The sids stage as a Prefect task; shows the codebooks' health in the UI."""

from collections.abc import Mapping

from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State

from tasks.stage_task import find_or_build, stage_task
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact, ArtifactStore


def _body(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact]) -> State[Artifact]:
    state = find_or_build(planned, store, parents)
    health = state.data.frame("codebook_health").round(4)
    create_table_artifact(
        health.astype(object).where(health.notna(), None).to_dict("records"),
        key=f"codebook-{planned.key.dataset.replace('_', '-').replace('.', '-')}",
        description="Codebook health by level",
    )
    return state


TASK = stage_task("sids", _body)
