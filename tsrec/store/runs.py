"""Records of runs: which artifacts each one uses, written when it starts. Garbage collection reads them.

One small JSON per run in `<root>/.runs/<dataset>/`, in the remote itself where the store is remote. The same run
started again writes the same file, so that it is the newest of its profile from then on. Knows nothing of stages.
"""

import logging
import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tsrec.store.manifest import ARTIFACT_PATH_PATTERN, ArtifactKey, Dataset
from tsrec.store.notes import read_notes, write_note
from tsrec.store.store import ArtifactStore

logger = logging.getLogger(__name__)

_FOLDER = ".runs"

ArtifactPath = Annotated[str, StringConstraints(pattern=ARTIFACT_PATH_PATTERN)]


class FlowRun(BaseModel):
    """The flow run that a run was part of: its id, and its page in the UI where one is known."""

    model_config = ConfigDict(frozen=True)

    id: str
    url: Annotated[str, StringConstraints(pattern=r"^https?://")] | None = None


class Run(BaseModel):
    """One run: paths, relative to the store, of the artifacts that it uses, in order; it is finished with the last."""

    model_config = ConfigDict(frozen=True)

    dataset: Dataset
    profile: str
    artifacts: Annotated[tuple[ArtifactPath, ...], Field(min_length=1)]
    started: str
    flow_run: FlowRun | None = None

    @property
    def goal(self) -> str:
        """The last artifact: once it exists, the run is finished."""
        return self.artifacts[-1]

    @property
    def path(self) -> str:
        """The record's own path, relative to the store."""
        name = re.sub(r"[^A-Za-z0-9._-]", "_", self.profile)
        return f"{_FOLDER}/{self.dataset}/{name}-{self.goal.rsplit('/', 1)[-1]}.json"


def record_run(store: ArtifactStore, profile: str, keys: list[ArtifactKey], flow_run: FlowRun | None = None) -> None:
    """Write down that a run of `profile` that starts now uses the artifacts of `keys`; the last one is its goal."""
    run = Run(
        dataset=keys[-1].dataset,
        profile=profile,
        artifacts=tuple(key.path for key in keys),
        started=datetime.now(UTC).isoformat(timespec="microseconds"),
        flow_run=flow_run,
    )
    write_note(store, run.path, run.model_dump_json(indent=1))


def recorded_runs(store: ArtifactStore, dataset: str = "*") -> tuple[list[Run], set[str]]:
    """All recorded runs, oldest first, and the data sets of which a record cannot be read."""
    runs, unreadable = [], set()
    for path, content in read_notes(store, f"{_FOLDER}/{dataset}/*.json").items():
        try:
            run = Run.model_validate_json(content)
            if run.path != path:
                raise ValueError(f"says that it is {run.path}")
            runs.append(run)
        except ValueError:  # pydantic's is one
            unreadable.add(path.split("/")[1])
            logger.warning("%s: not a readable record of a run; run that profile again, or delete the file", path)
    return sorted(runs, key=lambda run: (run.started, run.path)), unreadable
