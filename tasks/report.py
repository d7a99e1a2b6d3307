"""The report stage as a Prefect task; shows where the page lies, and its main picture, in the UI."""

import base64
from collections.abc import Mapping

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from tasks.stage_task import find_or_build, stage_task
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact, ArtifactStore


def _body(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact]) -> State[Artifact]:
    state = find_or_build(planned, store, parents)
    picture = base64.b64encode(state.data.file("images/ndcg.png").read_bytes()).decode("ascii")
    create_markdown_artifact(
        f"# {planned.key.dataset}\n\n`{state.data.file('report.html')}`\n\n![NDCG](data:image/png;base64,{picture})",
        key=f"report-{planned.key.dataset.replace('_', '-').replace('.', '-')}",
        description="Where the report lies",
    )
    return state


TASK = stage_task("report", _body)
