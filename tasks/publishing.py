"""What tasks show in the UI: Prefect artifacts made of results of tsrec.

A failure to show never fails a stage: what was built lies in the store.
"""

import base64
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

from tsrec.ablation import AblationResults
from tsrec.evaluate.summary import headline, metrics_table
from tsrec.pipeline.promotion import beside_champion
from tsrec.recommenders.batch import Batch
from tsrec.refresh import RefreshOutcome
from tsrec.store import Artifact, ArtifactStore

logger = logging.getLogger("tsrec.ui")

PICTURE = "images/ndcg.png"


def show_in_ui(publish: Callable[..., object], *arguments: Any) -> None:
    """Call `publish`; where the server cannot be reached, or refuses, that is logged and no more."""
    try:
        publish(*arguments)
    except Exception as error:  # whatever goes wrong between here and a browser
        logger.warning("not shown in the UI: %s: %s", type(error).__name__, error)


def artifact_key(what: str, dataset: str) -> str:
    """The key of a Prefect artifact: lower case, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", f"{what}-{dataset}".lower())


def publish_codebook_health(sids: Artifact) -> None:
    """One row per level; the counts of collisions in the description."""
    health = sids.frame("codebook_health").round(4)
    counts = ", ".join(f"{name} {value}" for name, value in sorted(sids.counts.items()))
    create_table_artifact(
        health.astype(object).where(health.notna(), None).to_dict("records"),  # JSON has no NaN
        key=artifact_key("codebook", sids.manifest.key.dataset),
        description=f"Codebook health by level. {counts}",
    )


def publish_metrics(evaluate: Artifact) -> None:
    """One row per method, the fusion first."""
    differences = evaluate.frame("differences")
    create_table_artifact(
        metrics_table(evaluate.frame("metrics"), differences).reset_index().to_dict("records"),
        key=artifact_key("metrics", evaluate.manifest.key.dataset),
        description=headline(differences),
    )


def publish_report(report: Artifact) -> None:
    """A link to the page and its place, and the plot of NDCG."""
    dataset = report.manifest.key.dataset
    create_markdown_artifact(
        f"# {dataset}\n\n{_link(report)}`{report.file('report.html')}`\n\n{_embedded(report.file(PICTURE), 'NDCG')}",
        key=artifact_key("report", dataset),
        description="The report",
    )


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


def publish_refresh(dataset: str, outcome: RefreshOutcome) -> None:
    """What was measured, one row per figure, and what was decided."""
    create_table_artifact(
        [{"what": name, "value": value} for name, value in outcome.summary.items()],
        key=artifact_key("refresh", dataset),
        description=outcome.message,
    )


def publish_recommendations(batch: Batch, fuse: Artifact) -> None:
    """One row per count; where the parts lie in the description."""
    create_table_artifact(
        [{"what": name, "count": count} for name, count in batch.counts.items()],
        key=artifact_key("recommendations", fuse.manifest.key.dataset),
        description=f"{len(batch.parts)} parts in {batch.folder.absolute()} by model {fuse.fingerprint}",
    )


def publish_ablation(results: AblationResults, name: str) -> None:
    """The tables, where their files lie, and the pictures."""
    pictures = "\n\n".join(_embedded(path, path.stem) for path in results.pictures)
    create_markdown_artifact(
        f"{results.page}\n`{results.folder.absolute()}`\n\n{pictures}",
        key=artifact_key("ablation", name),
        description="The ablation",
    )


def _embedded(picture: Path, title: str) -> str:
    """A picture in Markdown that any browser shows: the file itself is not served."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')})"


def _link(report: Artifact) -> str:
    """A link to the page where the server shows reports of this store, as the one of `tsrec serve` does; else nothing.

    It is relative to the server: browsers elsewhere know it by another address.
    """
    path = f"/reports/{report.manifest.key.dataset}/{report.fingerprint}"
    server = str(PREFECT_API_URL.value() or "").removesuffix("/api")
    user, _, password = str(PREFECT_API_AUTH_STRING.value() or "").partition(":")
    try:
        shown = server and httpx.head(f"{server}{path}", auth=(user, password), timeout=10).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        shown = False
    return f"[Open the report]({path})\n\n" if shown else ""
