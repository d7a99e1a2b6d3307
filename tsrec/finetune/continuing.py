"""Training that goes on from a base: which examples are new or seen again, and the rows that SID tokens start from.

Knows the artifacts of the base by their roles; nothing of how they were made, or of who asks for a refresh.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoTokenizer, PreTrainedModel

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.errors import ArtifactError
from tsrec.finetune.meanings import meanings_of
from tsrec.finetune.tasks import TaskData, TaskExamples
from tsrec.histories import Histories
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import first_sid_id
from tsrec.stage import Parents
from tsrec.store import base_role
from tsrec.store.unchanged import unchanged_rows
from tsrec.training.packing import Example, Examples

_EVENT = [C.USER, C.ITEM, C.TIMESTAMP]


@dataclass(frozen=True)
class Chosen:
    """What a training that goes on sees: (E,) bool `events` of the histories, (N,) bool `items`, (M,) bool `tokens`
    that have a meaning; all that is new, and a draw of the rest. `counts` to record."""

    events: np.ndarray
    items: np.ndarray
    tokens: np.ndarray
    counts: dict[str, int]

    def of(self, examples: TaskExamples, histories: Histories) -> "Some":
        """The chosen examples of a text task."""
        chosen = {
            "items": self.items,
            "events": self.events[histories.target_events(Split.TRAIN)],
            "tokens": self.tokens,
        }[examples.task.over]
        return Some(examples, np.flatnonzero(chosen))


class Some:
    """Some rows of examples, as examples."""

    def __init__(self, examples: Examples, rows: Sequence[int] | np.ndarray) -> None:
        self._examples, self._rows = examples, rows

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        """The example at place `index`."""
        return self._examples[int(self._rows[index])]


def choose(parents: Parents, histories: Histories, data: TaskData | None, replay: float, seed: int) -> Chosen:
    """What is new since the base (events of train that it did not train on, items with another title, tokens without a
    meaning before), and a share `replay` of everything else, drawn at random. `data` is what the text tasks are made
    of, where there are any.

    Of events, whole users are drawn: one window then holds many of them, where single ones would cost a window each.
    """
    random = np.random.default_rng([seed, 2])
    items, before = (parents[role].frame("items", [C.ITEM, C.TITLE]) for role in ("ingest", base_role("ingest")))
    is_new_item = unchanged_rows(items, before, (C.TITLE,)) < 0
    is_train = histories.splits == Split.TRAIN.value
    is_new_event = is_train & _is_new_event(histories, items[C.ITEM].to_numpy(dtype=object), parents)
    is_new_token = _is_new_token(parents, data)
    is_seen_again = (random.random(histories.n_users) < replay)[histories.users()]
    return Chosen(
        events=is_new_event | (is_train & is_seen_again),
        items=is_new_item | (random.random(len(is_new_item)) < replay),
        tokens=is_new_token | (random.random(len(is_new_token)) < replay),
        counts={
            "n_new_events": int(is_new_event.sum()),
            "n_known_events": int((is_train & ~is_new_event).sum()),
            "n_new_items": int(is_new_item.sum()),
        },
    )


def newly_used(parents: Parents) -> np.ndarray:
    """(n_tokens,) bool: SID tokens that no item of the base had, and one has now: the base never learned them."""
    before, now = (
        parents[role].table("token_semantics", [C.N_ITEMS])[C.N_ITEMS].to_numpy()
        for role in (base_role("sa_init"), "sa_init")
    )
    return (before == 0) & (now > 0)


def trained_rows(parents: Parents, model: PreTrainedModel, folder: Path, space: SidSpace, n_text: int) -> torch.Tensor:
    """(n_tokens, D) float32: the SID rows of the base's trained `model`, which lies in `folder`.

    Raises:
        ArtifactError: its vocabulary is another than this run's.
    """
    first = first_sid_id(AutoTokenizer.from_pretrained(folder, trust_remote_code=False), space, folder)
    if first != n_text:
        raise ArtifactError(
            f"{folder}: its SID tokens begin at {first}, this run's at {n_text}: it was made from another backbone; "
            "give `tsrec run`, which starts anew"
        )
    embedding: Any = model.get_input_embeddings()
    rows: torch.Tensor = embedding.weight.detach()[n_text:].clone().float()
    return rows


def _is_new_token(parents: Parents, data: TaskData | None) -> np.ndarray:
    """(M,) bool: tokens that meant nothing in the base."""
    if data is None:
        return np.zeros(0, dtype=bool)
    known = meanings_of(parents[base_role("sa_init")])
    return np.array([token not in known for token in data.tokens], dtype=bool)


def _is_new_event(histories: Histories, item_ids: np.ndarray, parents: Parents) -> np.ndarray:
    """(E,) bool: events that were no train events of the base, by user, item and time."""
    now = pd.DataFrame(
        {
            C.USER: histories.user_ids[histories.users()],
            C.ITEM: item_ids[histories.items],
            C.TIMESTAMP: histories.times,
        }
    )
    before = parents[base_role("ingest")].frame("interactions", [*_EVENT, C.SPLIT])
    before = before[before[C.SPLIT] == Split.TRAIN.value][_EVENT].drop_duplicates()
    joined = now.merge(before, on=_EVENT, how="left", indicator=True)
    return (joined["_merge"] == "left_only").to_numpy()
