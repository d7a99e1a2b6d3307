"""Writing an ablation's results as a Prefect task; shows the page and its pictures in the UI."""

import base64

from prefect import Task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.masking import masking_errors
from tasks.stage_task import artifact_key
from tasks.ui import show_in_ui
from tsrec.ablation import AblationResults, BuiltAblation, write_results


@masking_errors
def write(built: BuiltAblation) -> AblationResults:
    """Compare what was measured, and write it."""
    results = write_results(built)
    show_in_ui(publish_page, results, built.plan.ablation.name)
    return results


def publish_page(results: AblationResults, name: str) -> None:
    """The tables, where their files lie, and the pictures, embedded so that any browser shows them."""
    pictures = "\n\n".join(
        f"![{path.stem}](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')})"
        for path in results.pictures
    )
    create_markdown_artifact(
        f"{results.page}\n`{results.folder.absolute()}`\n\n{pictures}",
        key=artifact_key("ablation", name),
        description="The ablation",
    )


TASK = Task(write, name="compare", cache_policy=NO_CACHE, persist_result=False)
