"""The flow `ablation`: variants over data sets and seeds, every artifact that they share once, then the table."""

import flows.prefect_environment  # noqa: F401, I001  (before anything imports prefect)

from collections.abc import Mapping

from prefect import get_run_logger

from flows import run_logging
from flows.masked_flow import masked_flow
from flows.train import run_stage
from tasks.ablation import TASK
from tasks.dask_shards import task_runner_by_environment
from tsrec.ablation import build_ablation, plan_ablation
from tsrec.config import Ablation, Config
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact, ArtifactStore

run_logging.install()


@masked_flow(
    name="ablation",
    flow_run_name="ablation-{ablation.name}",
    persist_result=False,
    task_runner=task_runner_by_environment(),
    on_failure=[run_logging.log_refusal],
)
def ablation(
    config: Config = Config(),  # noqa: B008  (frozen, and the UI's form shows its values)
    ablation: Ablation = Ablation(),  # noqa: B008
    more: tuple[Config, ...] = (),
) -> str:
    """What each part of the method is worth: variants of a configuration, compared on the same targets.

    A variant that fails does not take the others down: the table says so, and the run ends as *Failed* when all is
    written.

    Args:
        config: the first data set, with the settings that all variants share.
        ablation: the variants, the seeds, and what is measured.
        more: further data sets.

    Returns:
        the folder of the tables and pictures.

    Raises:
        TsrecError: the comparison cannot be made as it was asked for, or a run failed.
    """
    run_logging.install()
    plan = plan_ablation(ablation, (config, *more))
    for line in plan.summary_lines():
        get_run_logger().info("%s", line)
    results = TASK(build_ablation(plan, _build))
    results.check()
    return str(results.folder.absolute())


def _build(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact], purpose: str) -> Artifact:
    return run_stage(planned, store, parents, f"{planned.stage.name} ({purpose})")
