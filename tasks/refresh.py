"""Judging a refresh as a Prefect task; shows what was measured and decided in the UI."""

from collections.abc import Mapping

from prefect import Task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.masking import masking_errors
from tasks.stage_task import artifact_key
from tasks.ui import show_in_ui
from tsrec.refresh import RefreshOutcome, RefreshPlan, judge_refresh
from tsrec.store import Artifact, ArtifactStore


@masking_errors
def judge(store: ArtifactStore, plan: RefreshPlan, artifacts: Mapping[str, Artifact]) -> RefreshOutcome:
    """Compare with the champion, and promote where the rule says so."""
    outcome = judge_refresh(store, plan, artifacts)
    show_in_ui(_publish, plan.config.dataset, outcome)
    return outcome


def _publish(dataset: str, outcome: RefreshOutcome) -> None:
    create_table_artifact(
        [{"what": name, "value": value} for name, value in outcome.summary.items()],
        key=artifact_key("refresh", dataset),
        description=outcome.message,
    )


TASK = Task(judge, name="judge", cache_policy=NO_CACHE, persist_result=False)
