"""The flow `ablation`: variants over data sets and seeds, every artifact that they share once, then the table."""

from prefect import get_run_logger

from flows.train import run_stage
from flows.tsrec_flow import tsrec_flow
from tasks.stages import compare
from tsrec.ablation import build_ablation, plan_ablation
from tsrec.config import Ablation, Config


@tsrec_flow("ablation", run_name="ablation-{ablation.name}")
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
    plan = plan_ablation(ablation, (config, *more))
    for line in plan.summary_lines():
        get_run_logger().info("%s", line)
    results = compare(build_ablation(plan, run_stage))
    results.check()
    return str(results.folder.absolute())
