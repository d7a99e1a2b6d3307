"""The report stage as a Prefect task; shows the page behind a link, and its main picture, in the UI."""

import base64

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

from tasks.stage_task import artifact_key, stage_task
from tsrec.store import Artifact

PICTURE = "images/ndcg.png"


def publish_report(artifact: Artifact) -> None:
    """A link to the page and its place, and the plot of NDCG, embedded so that any browser shows it."""
    dataset = artifact.manifest.key.dataset
    png = base64.b64encode(artifact.file(PICTURE).read_bytes()).decode("ascii")
    create_markdown_artifact(
        f"# {dataset}\n\n{_link(artifact)}`{artifact.file('report.html')}`\n\n![NDCG](data:image/png;base64,{png})",
        key=artifact_key("report", dataset),
        description="The report",
    )


def _link(artifact: Artifact) -> str:
    """A link to the page where the server shows reports of this store, as the one of `tsrec serve` does; else nothing.

    It is relative to the server: browsers elsewhere know it by another address.
    """
    path = f"/reports/{artifact.manifest.key.dataset}/{artifact.fingerprint}"
    server = str(PREFECT_API_URL.value() or "").removesuffix("/api")
    user, _, password = str(PREFECT_API_AUTH_STRING.value() or "").partition(":")
    try:
        shown = server and httpx.head(f"{server}{path}", auth=(user, password), timeout=10).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        shown = False
    return f"[Open the report]({path})\n\n" if shown else ""


TASK = stage_task("report", publish=publish_report)
