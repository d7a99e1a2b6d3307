"""What is asked of the live server and what it answers, in item ids. Knows nothing of HTTP."""

from dataclasses import dataclass

from tsrec.columns import FUSED
from tsrec.errors import TsrecError


@dataclass(frozen=True)
class Wish:
    """One request.

    Attributes:
        history: item ids, oldest first; may be empty, and hold ids that nobody knows.
        k: how many items.
        method: `fused`, or one member.
        allow: the item ids that may be recommended; None: all.
        deny: item ids that may not.
        no_repeats: whether items of the history are left out; None: as the model's settings say.
        explain: whether each item comes with a reason in words.
    """

    history: tuple[str, ...]
    k: int = 10
    method: str = FUSED
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    no_repeats: bool | None = None
    explain: bool = False


@dataclass(frozen=True)
class ListedItem:
    """One recommended item; `rank` counts from 1. `score` is None where popularity filled the list, `reason` where it
    was not asked for. `proposed_by` names the members that proposed the item, the keenest first."""

    item_id: str
    title: str
    rank: int
    score: float | None
    proposed_by: tuple[str, ...]
    reason: str | None


@dataclass(frozen=True)
class Answer:
    """The list for one wish.

    Attributes:
        items: best first.
        model: fingerprint of the model that answered.
        method: as asked.
        unknown: ids of the history that the catalogue lacks.
        left_out: members that had no time; empty where the list is whole.
    """

    items: tuple[ListedItem, ...]
    model: str
    method: str
    unknown: tuple[str, ...]
    left_out: tuple[str, ...]


class BusyError(TsrecError):
    """Too many wishes wait already; `retry_after_s` is when to ask again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many requests are waiting; ask again in {retry_after_s} s")
        self.retry_after_s = retry_after_s
