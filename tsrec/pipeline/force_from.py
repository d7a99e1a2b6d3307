"""Running a stage again, with all that follows, though its artifacts exist.

What was made before the moment of asking counts as missing, and is replaced, each artifact whole. That moment is kept
in the store until the run has finished: the same run, killed and started again, goes on where it was instead of
beginning anew. Knows nothing of what a stage does.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from tsrec.errors import ConfigError
from tsrec.pipeline.planning import PlannedStage
from tsrec.store import ArtifactStore
from tsrec.store.notes import read_notes, remove_note, write_note

logger = logging.getLogger(__name__)

_FOLDER = ".forced"


def mark_for_rebuild(stages: Mapping[str, PlannedStage], stage: str, store: ArtifactStore) -> dict[str, PlannedStage]:
    """The same plan, in which `stage` and all that follows it count as missing, so that they are built again.

    Where a run has several LLMs, the stage of each of them is built again.

    Raises:
        ConfigError: the plan has no such stage.
    """
    rebuilt = _following(stages, stage)
    note = _note(stages, stage)
    if asked_at := _time_in_note(read_notes(store, note).get(note, b"")):
        logger.info("going on with the run from %s anew that was asked for at %s", stage, asked_at)
    else:
        asked_at = datetime.now(UTC).isoformat(timespec="microseconds")
        write_note(store, note, asked_at)
    return {
        name: replace(planned, rebuild_before=asked_at) if name in rebuilt else planned
        for name, planned in stages.items()
    }


def finish_forced_run(stages: Mapping[str, PlannedStage], stage: str, store: ArtifactStore) -> None:
    """Forget that the run was forced: all of it is made now. Who asks once more has all of it built once more."""
    remove_note(store, _note(stages, stage))


def _following(stages: Mapping[str, PlannedStage], stage: str) -> set[str]:
    """Names of the planned stages of that name, and of those made from them."""
    rebuilt: set[str] = set()
    for name, planned in stages.items():  # parents stand before what is made from them
        if stage in (name, planned.stage.name) or rebuilt & set(planned.parents.values()):
            rebuilt.add(name)
    if not rebuilt:
        raise ConfigError(f"no stage {stage!r} to start from in this run; it has {', '.join(stages)}")
    return rebuilt


def _time_in_note(content: bytes) -> str:
    """The time that a note holds; empty where it holds none, or one in the future, which would rebuild everything."""
    with suppress(ValueError):  # also of another encoding
        time = datetime.fromisoformat(content.decode())
        if time.tzinfo and time <= datetime.now(UTC):
            return time.astimezone(UTC).isoformat(timespec="microseconds")
    return ""


def _note(stages: Mapping[str, PlannedStage], stage: str) -> str:
    goal = list(stages.values())[-1].key
    return f"{_FOLDER}/{goal.dataset}/{goal.fingerprint}-{stage.replace(':', '-')}.txt"
