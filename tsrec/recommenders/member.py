"""The interface of a member: it is fitted on `train`, saved, opened from artifacts alone, and ranks items.

Members know items by row numbers of the `items` table; `recommender.py` translates ids.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tsrec.config import MembersConfig, Section
from tsrec.histories import Histories
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.ranking import Filter, Ranked
from tsrec.store import Artifact


class Member(Protocol):
    """Anything that ranks items for histories."""

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """The best items for each of B histories, at most `k`; lists may be shorter.

        Args:
            pasts: B arrays of item numbers, oldest first; may be empty.
            k: length of the lists.
            allow: what may be shown.
        """
        ...


@dataclass(frozen=True)
class FitInputs:
    """What a member is fitted on.

    `parents` are the artifacts of its parent stages, and in a refresh those that it continues from; `work` is a folder
    that survives a killed process; `folder` is where the member saves itself.
    """

    histories: Histories
    catalogue: Catalogue
    config: Any
    parents: Mapping[str, Artifact]
    work: Path
    folder: Path


@dataclass(frozen=True)
class MemberKind:
    """One kind of member, as the registry holds it.

    `name` is the method in `metrics`, and the stage that fits it. `version` is raised when its result for the same
    inputs changes. `fit` learns, and writes files (Parquet, JSON or safetensors) into a folder. `load` opens the member
    from that folder and its settings. `parents` names the stages that it is fitted on. `section` picks its settings, of
    the type `config_type`, out of all members'. Where a member `warm_starts`, a refresh hands `fit` the earlier one.
    """

    name: str
    version: int
    fit: Callable[[FitInputs], None]
    load: Callable[[Path, Any], Member]
    parents: tuple[str, ...] = ("ingest",)
    config_type: type[Section] = Section
    section: Callable[[MembersConfig], Section] = lambda _: Section()
    warm_starts: bool = False
