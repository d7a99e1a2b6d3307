"""The flow `recommend`: lists for many users by a finished model, as Parquet parts."""

from flows.tsrec_flow import tsrec_flow
from tasks import stages
from tsrec import permissions, pipeline
from tsrec.config import BatchRequest, Config


@tsrec_flow("recommend", run_name="recommend-{config.dataset}")
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
    permissions.check_roots(config)  # before the store is opened: it may lie where it must not
    lineage, fuse = pipeline.resolve_model(config, wish.model)
    batch = stages.recommend(lineage, fuse, wish)
    return str(batch.folder.absolute())
