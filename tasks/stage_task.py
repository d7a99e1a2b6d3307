"""The one body of all stage tasks: look the artifact up, build it where it is missing, show what a person wants.

The artifact, not the run, is the key: a retry, a second run and another flow all find what is already there. Prefect
keeps no results and no cache of its own.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.dask_shards import shard_distributor
from tasks.masking import masking_errors
from tasks.progress_artifacts import shown_progress
from tasks.publishing import artifact_key, show_in_ui
from tsrec import pipeline
from tsrec.errors import TsrecError
from tsrec.pipeline import PlannedStage
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactStore

P = ParamSpec("P")
R = TypeVar("R")
Publish = Callable[[Artifact], object]


def plain_task(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A decorator that makes a function a task, of which Prefect keeps nothing and whose errors hold no secrets."""
    return lambda function: Task(masking_errors(function), name=name, cache_policy=NO_CACHE, persist_result=False)


def stage_task(
    stage: str, *, publish: Publish | None = None, retries: int = 0, retry_delay_s: float = 0
) -> Task[[PlannedStage, ArtifactStore, Parents], Artifact]:
    """Make the task `(planned, store, parents) -> Artifact` of a stage.

    Args:
        stage: the stage's name, which the UI shows.
        publish: called with the artifact, built or found, to show it as a Prefect artifact; may fail.
        retries: further attempts after a failure that nobody foresaw; a TsrecError would come again, and is final.
        retry_delay_s: seconds before each of them.

    Returns:
        A task that ends in the state *Cached* where the artifact existed, whichever run made it. Call it with
        `return_state=True` and take the artifact from the state's `result()`.
    """

    # Any: with `return_state=True` Prefect unwraps the State that names the artifact Cached.
    @masking_errors
    def find_or_build(planned: PlannedStage, store: ArtifactStore, parents: Parents) -> Any:
        found = planned.found_in(store)
        if (artifact := found) is None:
            with shown_progress(artifact_key("progress", f"{planned.key.dataset}-{planned.name}")):
                artifact = pipeline.build(planned, store, parents, shard_distributor())
        if publish is not None:
            show_in_ui(publish, artifact)
        if found:
            return Completed(name="Cached", message=f"found {planned.key.path}", data=artifact)
        seconds = artifact.manifest.seconds
        return Completed(message=f"built {planned.key.path} in {seconds:.0f} s", data=artifact)

    return Task(
        find_or_build,
        name=stage,
        task_run_name=stage,
        retries=retries,
        retry_delay_seconds=retry_delay_s,
        retry_condition_fn=_is_unforeseen,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _is_unforeseen(task: Any, run: Any, state: State[Any]) -> bool:
    return not isinstance(state.result(raise_on_failure=False), TsrecError)
