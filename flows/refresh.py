"""The flow `refresh`: the stages of `train`, each extending what the champion was made from, then a judgement."""

import flows.prefect_environment  # noqa: F401, I001  (before anything imports prefect)

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import run_logging
from flows.masked_flow import masked_flow
from flows.train import run_stages
from tasks.refresh import TASK
from tasks.dask_shards import task_runner_by_environment
from tsrec import refresh as refreshing
from tsrec.config import Config

run_logging.install()


@masked_flow(
    name="refresh",
    flow_run_name="refresh-{config.dataset}",
    persist_result=False,
    task_runner=task_runner_by_environment(),
    on_failure=[run_logging.log_refusal],
)
def refresh(config: Config = Config()) -> State[str]:  # noqa: B008  (frozen, and the UI's form shows its values)
    """Take new data up without starting over, and promote the new model where the rule of the configuration says so.

    Args:
        config: All settings, as the champion's run had them; its files may be more or longer by now.

    Returns:
        *Completed*, with what became of the new model, or that there was nothing new.

    Raises:
        TsrecError: a stage cannot go on, or the settings are others than the champion's.
    """
    run_logging.install()
    outcome = refreshing.run(config, build=run_stages, judge=TASK)
    get_run_logger().info("%s", outcome.message)
    return Completed(message=outcome.message, data=outcome.message)
