"""The champion of a data set: the finished model that recommends, and the history of its promotions and rollbacks.

Every move of the pointer is one small JSON in `<root>/.champions/<dataset>/`. It is numbered, and never overwritten.
The move with the highest number counts, so the pointer moves atomically in any store, and its history is kept. Two
processes that move at once pick the same number. Both notes stay, for their names differ; the later one counts. A model
is named by the fingerprint of the artifact that opens it (`fuse`). Knows nothing of what is in it.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tsrec.errors import ArtifactError
from tsrec.store.manifest import Dataset, Fingerprint
from tsrec.store.notes import names, read_notes, write_note
from tsrec.store.store import ArtifactStore

logger = logging.getLogger(__name__)

MODEL_STAGE = "fuse"
"""The stage whose artifact is the model: from it everything that recommending needs is found."""
SERVED = "served"
"""The stage of members that serve in place of those of the model that is their parent."""

_FOLDER = ".champions"


class Move(BaseModel):
    """One move of the pointer: to the model `to`, from `previous` (None: there was none), when (ISO, UTC) and why;
    `metrics` are those that it was judged by. `best` is the champion that the next refresh has to stand up to as well,
    because it measured better than `to` (None: `to` itself is the best since the last rebuild). `mark` keeps the names
    of notes with one number apart."""

    model_config = ConfigDict(frozen=True)

    dataset: Dataset
    number: int = Field(ge=0)
    kind: Literal["promote", "rollback"]
    to: Fingerprint
    previous: Fingerprint | None
    why: str
    metrics: dict[str, float]
    when: str
    best: Fingerprint | None = None
    mark: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]*$")] = ""

    @property
    def path(self) -> str:
        """The note's own path, relative to the store."""
        mark = self.mark and f"-{self.mark}"
        return f"{_FOLDER}/{self.dataset}/{self.number:06d}-{self.to}{mark}.json"


def moves_of(store: ArtifactStore, dataset: str) -> list[Move]:
    """All moves of a data set's champion, oldest first; one that cannot be read is named in the log."""
    return all_moves(store, dataset)[0].get(dataset, [])


def move_names(store: ArtifactStore, dataset: str) -> list[str]:
    """Names of all moves of a data set's champion: while they stay the same, so does the champion."""
    return names(store, f"{_FOLDER}/{dataset}/*.json")


def all_moves(store: ArtifactStore, dataset: str = "*") -> tuple[dict[str, list[Move]], set[str]]:
    """Moves by data set, oldest first, and the data sets of which a move cannot be read."""
    found: dict[str, list[Move]] = {}
    unreadable: set[str] = set()
    for path, content in read_notes(store, f"{_FOLDER}/{dataset}/*.json").items():
        name = path.split("/")[1]
        try:
            move = Move.model_validate_json(content)
            if move.path != path:
                raise ValueError(f"says that it is {move.path}")
            found.setdefault(name, []).append(move)
        except ValueError:  # pydantic's is one
            unreadable.add(name)
            logger.warning("%s: not a readable move of the champion; look at `tsrec models show`", path)
    return {name: _in_order(moves) for name, moves in found.items()}, unreadable


def _in_order(moves: list[Move]) -> list[Move]:
    """Oldest first. A move that was made while another took its number did not know of it, and comes from there."""
    ordered = sorted(moves, key=lambda move: (move.number, move.when, move.mark, move.to))
    corrected = [
        move.model_copy(update={"previous": earlier.to}) if move.number == earlier.number else move
        for earlier, move in pairwise(ordered)
    ]
    return ordered[:1] + corrected


def champion_stack(moves: list[Move]) -> list[str]:
    """Fingerprints: the champion last, before it those that one rollback after the other would lead to."""
    stack: list[str] = []
    for move in moves:
        if move.kind == "rollback":
            del stack[-1:]
        if stack[-1:] != [move.to]:
            stack.append(move.to)
    return stack


def champion_of(store: ArtifactStore, dataset: str) -> str | None:
    """Fingerprint of the data set's champion; None where there is none yet."""
    return next(iter(champion_stack(moves_of(store, dataset))[-1:]), None)


def best_of(moves: list[Move]) -> str | None:
    """Fingerprint of the best champion since the last rebuild, by what refreshes measured; None where that is the
    champion, or there is none."""
    return moves[-1].best if moves else None


def promote(
    store: ArtifactStore, dataset: str, to: str, why: str, metrics: Mapping[str, float], best: str | None = None
) -> Move:
    """Make the model with the fingerprint `to` the champion of a data set; `best` is a `Move`'s."""
    return _move(store, dataset, "promote", to, why, metrics, best)


def roll_back(store: ArtifactStore, dataset: str, why: str) -> Move:
    """Make the champion before the present one the champion again.

    Raises:
        ArtifactError: there was none, or it is gone from the store.
    """
    moves = moves_of(store, dataset)
    previous = champion_stack(moves)[-2:-1]
    if not previous:
        raise ArtifactError(f"{dataset}: no earlier champion to go back to; see `tsrec models list`")
    there = {artifact.fingerprint for artifact in store.list() if artifact.manifest.key.dataset == dataset}
    if previous[0] not in there:
        raise ArtifactError(f"{dataset}: the champion before, {previous[0]}, is gone; see `tsrec models list`")
    earlier = next(move for move in reversed(moves) if move.to == previous[0])
    return _move(store, dataset, "rollback", previous[0], why, earlier.metrics, earlier.best)


def _move(
    store: ArtifactStore,
    dataset: str,
    kind: Literal["promote", "rollback"],
    to: str,
    why: str,
    metrics: Mapping[str, float],
    best: str | None,
) -> Move:
    moves = moves_of(store, dataset)
    move = Move(
        dataset=dataset,
        number=max((move.number for move in moves), default=0) + 1,
        kind=kind,
        to=to,
        previous=next(iter(champion_stack(moves)[-1:]), None),
        why=why,
        metrics=dict(metrics),
        when=datetime.now(UTC).isoformat(timespec="microseconds"),
        best=best,
        mark=uuid4().hex[:8],
    )
    write_note(store, move.path, move.model_dump_json(indent=1))
    # What lies there now tells what the move came from, if another was made meanwhile.
    return next((known for known in moves_of(store, dataset) if known.path == move.path), move)
