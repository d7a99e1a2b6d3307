"""The flow `refresh`: the stages of `train`, each extending what the champion was made from, then a judgement."""

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.train import run_stage
from flows.tsrec_flow import this_flow_run, tsrec_flow
from tasks.stages import judge
from tsrec import refresh as refreshing
from tsrec.config import Config


@tsrec_flow("refresh", run_name="refresh-{config.dataset}")
def refresh(config: Config = Config()) -> State[str]:  # noqa: B008  (frozen, and the UI's form shows its values)
    """Take new data up without starting over, and promote the new model where the rule of the configuration says so.

    Args:
        config: All settings, as the champion's run had them; its files may be more or longer by now.

    Returns:
        *Completed*, with what became of the new model, or that there was nothing new.

    Raises:
        TsrecError: a stage cannot go on, or the settings are others than the champion's.
    """
    outcome = refreshing.run(config, build_stage=run_stage, judge=judge, flow_run=this_flow_run())
    get_run_logger().info("%s", outcome.message)
    return Completed(message=outcome.message, data=outcome.message)
