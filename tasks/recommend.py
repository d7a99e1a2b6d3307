"""Recommending to many users as a Prefect task; shows what was counted in the UI."""

from prefect import Task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.masking import masking_errors
from tasks.stage_task import artifact_key
from tasks.ui import show_in_ui
from tsrec.config import BatchRequest
from tsrec.recommenders.batch import Batch, recommend_users
from tsrec.store import Artifact, Lineage


@masking_errors
def recommend(lineage: Lineage, fuse: Artifact, wish: BatchRequest) -> Batch:
    """Make the parts, or find them; a run started again goes on at the part that it was at."""
    batch = recommend_users(lineage, fuse, wish)
    show_in_ui(publish_counts, batch, fuse)
    return batch


def publish_counts(batch: Batch, fuse: Artifact) -> None:
    """One row per count; where the parts lie in the description."""
    create_table_artifact(
        [{"what": name, "count": count} for name, count in batch.counts.items()],
        key=artifact_key("recommendations", fuse.manifest.key.dataset),
        description=f"{len(batch.parts)} parts in {batch.folder.absolute()} by model {fuse.fingerprint}",
    )


TASK = Task(recommend, name="recommend", cache_policy=NO_CACHE, persist_result=False)
