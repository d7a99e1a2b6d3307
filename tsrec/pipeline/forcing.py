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


def force(stages: Mapping[str, PlannedStage], stage: str, store: ArtifactStore) -> dict[str, PlannedStage]:
    """The same plan, in which `stage` (of all LLMs, where there are several) and what follows is to be made again.

    Raises:
        ConfigError: the plan has no such stage.
    """
    again = _following(stages, stage)
    note = _note(stages, stage)
    if since := _moment(read_notes(store, note).get(note, b"")):
        logger.info("going on with the run from %s anew that was asked for at %s", stage, since)
    else:
        since = datetime.now(UTC).isoformat(timespec="microseconds")
        write_note(store, note, since)
    return {name: replace(one, anew_since=since) if name in again else one for name, one in stages.items()}


def finish(stages: Mapping[str, PlannedStage], stage: str, store: ArtifactStore) -> None:
    """Say that all is made: who asks again means all of it again."""
    remove_note(store, _note(stages, stage))


def _following(stages: Mapping[str, PlannedStage], stage: str) -> set[str]:
    """Names of the planned stages of that name, and of those made from them."""
    again: set[str] = set()
    for name, planned in stages.items():  # parents stand before what is made from them
        if stage in (name, planned.stage.name) or again & set(planned.parents.values()):
            again.add(name)
    if not again:
        raise ConfigError(f"no stage {stage!r} to start from in this run; it has {', '.join(stages)}")
    return again


def _moment(content: bytes) -> str:
    """The moment that a note holds; empty where it holds none, or one to come, before which all would be made anew."""
    with suppress(ValueError):  # also of another encoding
        moment = datetime.fromisoformat(content.decode())
        if moment.tzinfo and moment <= datetime.now(UTC):
            return moment.astimezone(UTC).isoformat(timespec="microseconds")
    return ""


def _note(stages: Mapping[str, PlannedStage], stage: str) -> str:
    goal = list(stages.values())[-1].key
    return f"{_FOLDER}/{goal.dataset}/{goal.fingerprint}-{stage.replace(':', '-')}.txt"
