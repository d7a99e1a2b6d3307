"""The sids stage as a Prefect task; shows the codebooks' health in the UI."""

from prefect.artifacts import create_table_artifact

from tasks.stage_task import artifact_key, stage_task
from tsrec.store import Artifact


def publish_codebook_health(artifact: Artifact) -> None:
    """One row per level; the counts of collisions in the description."""
    health = artifact.frame("codebook_health").round(4)
    counts = ", ".join(f"{name} {value}" for name, value in sorted(artifact.counts.items()))
    create_table_artifact(
        health.astype(object).where(health.notna(), None).to_dict("records"),  # JSON has no NaN
        key=artifact_key("codebook", artifact.manifest.key.dataset),
        description=f"Codebook health by level. {counts}",
    )


TASK = stage_task("sids", publish=publish_codebook_health)
