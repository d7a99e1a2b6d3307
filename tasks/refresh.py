"""Judging a refresh as a Prefect task; shows what was measured and decided in the UI."""

from collections.abc import Mapping

from prefect import Task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.masking import masking_errors
from tasks.showing import show
from tasks.stage_task import artifact_key
from tsrec.refresh import Outcome, Started, finish
from tsrec.store import Artifact, ArtifactStore


@masking_errors
def judge(store: ArtifactStore, started: Started, artifacts: Mapping[str, Artifact]) -> Outcome:
    """Compare with the champion, and promote where the rule says so."""
    outcome = finish(store, started, artifacts)
    show(_publish, started.config.dataset, outcome)
    return outcome


def _publish(dataset: str, outcome: Outcome) -> None:
    create_table_artifact(
        [{"what": name, "value": value} for name, value in outcome.summary.items()],
        key=artifact_key("refresh", dataset),
        description=outcome.words,
    )


TASK = Task(judge, name="judge", cache_policy=NO_CACHE, persist_result=False)
