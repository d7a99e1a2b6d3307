"""Every stage as a Prefect task, and what else a flow does: judging a refresh, recommending, comparing variants."""

from collections.abc import Mapping

from tasks.dask_shards import shard_distributor
from tasks.publishing import (
    publish_ablation,
    publish_codebook_health,
    publish_metrics,
    publish_recommendations,
    publish_refresh,
    publish_report,
    show_in_ui,
)
from tasks.stage_task import plain_task, stage_task
from tsrec import ablation, refresh
from tsrec.config import BatchRequest
from tsrec.pipeline import STAGES
from tsrec.recommenders.batch import Batch, recommend_users
from tsrec.store import Artifact, ArtifactStore, Lineage

_PUBLISH = {"sids": publish_codebook_health, "evaluate": publish_metrics, "report": publish_report}
_WITH_TEACHER = ("keywords", "semantics")  # a server behind a network is worth asking again; its shards are kept

STAGE_TASKS = {
    stage.name: stage_task(
        stage.name, publish=_PUBLISH.get(stage.name), retries=2 if stage.name in _WITH_TEACHER else 0, retry_delay_s=30
    )
    for stage in STAGES
}
"""The task of every stage, by the stage's name."""


@plain_task("judge")
def judge(store: ArtifactStore, plan: refresh.RefreshPlan, artifacts: Mapping[str, Artifact]) -> refresh.RefreshOutcome:
    """Compare a refresh with the champion, and promote it where the rule says so."""
    outcome = refresh.judge_refresh(store, plan, artifacts)
    show_in_ui(publish_refresh, plan.config.dataset, outcome)
    return outcome


@plain_task("recommend")
def recommend(lineage: Lineage, fuse: Artifact, request: BatchRequest) -> Batch:
    """Make the parts of a batch, or find them; a run started again goes on at the part that it was at."""
    batch = recommend_users(lineage, fuse, request, shard_distributor())
    show_in_ui(publish_recommendations, batch, fuse)
    return batch


@plain_task("compare")
def compare(built: ablation.BuiltAblation) -> ablation.AblationResults:
    """Compare what an ablation measured, and write it."""
    results = ablation.write_results(built)
    show_in_ui(publish_ablation, results, built.plan.ablation.name)
    return results
