"""What all stage tasks share: the artifact, not the run, is the key of the cache."""

from collections.abc import Mapping
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tsrec import pipeline
from tsrec.errors import TsrecError
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact, ArtifactStore


def find_or_build(planned: PlannedStage, store: ArtifactStore, parents: Mapping[str, Artifact]) -> State[Artifact]:
    """The stage's artifact in a state that shows as *Cached* where it existed, whichever run made it."""
    artifact = store.find(planned.key)
    if artifact is not None:
        return Completed(name="Cached", message=f"found {planned.key.path}", data=artifact)
    artifact = pipeline.build(planned, store, parents)
    return Completed(message=f"built {planned.key.path} in {artifact.manifest.seconds:.0f} s", data=artifact)


def stage_task(stage: str, body: Any = find_or_build, retries: int = 0) -> Task[..., Any]:
    """A task named after its stage. Errors that tsrec raises on purpose are not retried: they would come again."""
    return Task(
        body,
        name=stage,
        task_run_name=stage,
        retries=retries,
        retry_delay_seconds=10,
        retry_condition_fn=_is_unexpected,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _is_unexpected(task: Any, run: Any, state: State[Any]) -> bool:
    try:
        state.result()
    except TsrecError:
        return False
    except Exception:
        return True
    return False
