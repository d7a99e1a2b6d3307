"""The flow `recommend`: lists for many users by a finished model, as Parquet parts."""

import flows.prefect_environment  # noqa: F401, I001  (before anything imports prefect)


from flows import run_logging
from flows.masked_flow import masked_flow
from tasks.recommend import TASK
from tsrec import permissions, pipeline
from tsrec.config import Config, BatchRequest

run_logging.install()


@masked_flow(
    name="recommend",
    flow_run_name="recommend-{config.dataset}",
    persist_result=False,
    on_failure=[run_logging.log_refusal],
)
def recommend(config: Config = Config(), wish: BatchRequest = BatchRequest()) -> str:  # noqa: B008  (frozen, and the form shows them)
    """Recommend to all or given users with the data set's champion, or another model.

    Args:
        config: Names the data set and the store; other sections matter only where `model` above is `profile`.
        wish: For whom, how many, of what, and where to.

    Returns:
        the folder of the parts.

    Raises:
        TsrecError: there is no such model, or a list of ids cannot be read.
    """
    run_logging.install()
    permissions.check_roots(config)  # before the store is opened: it may lie where it must not
    lineage, fuse = pipeline.resolve_model(config, wish.model)
    batch = TASK(lineage, fuse, wish)
    return str(batch.folder.absolute())
