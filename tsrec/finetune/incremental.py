"""Incremental training, from the weights of a base: which examples it sees, and where SID rows start.

A refresh trains so: on all that is new since the base, and on a replayed share of the rest. Resuming a killed training
is another thing, see `training.trainer`.

Knows the artifacts of the base by their roles; nothing of how they were made, or of who asks for a refresh.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Subset
from transformers import AutoTokenizer, PreTrainedModel

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.errors import ArtifactError
from tsrec.finetune.tasks import TaskData, TaskExamples
from tsrec.finetune.texts import meanings_of
from tsrec.histories import Histories
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import first_sid_id
from tsrec.stage import Parents
from tsrec.store import base_role
from tsrec.store.unchanged_rows import unchanged_rows
from tsrec.training.packing import Example

_EVENT_KEY = [C.USER, C.ITEM, C.TIMESTAMP]


@dataclass(frozen=True)
class TrainingRows:
    """The rows that an incremental training sees, as masks, and `counts` for the manifest.

    `events` (E,) bool of the histories; `items` (N,) bool; `tokens` (M,) bool of the tokens that have a meaning.
    """

    events: np.ndarray
    items: np.ndarray
    tokens: np.ndarray
    counts: dict[str, int]

    def subset(self, examples: TaskExamples, histories: Histories) -> Subset[Example]:
        """The examples of a text task that are seen."""
        mask = {
            "items": self.items,
            "events": self.events[histories.target_events(Split.TRAIN)],
            "tokens": self.tokens,
        }[examples.task.over]
        return Subset(examples, np.flatnonzero(mask).tolist())


def select_training_rows(
    parents: Parents, histories: Histories, data: TaskData | None, replay: float, seed: int
) -> TrainingRows:
    """Select all that is new since the base, and replay a share of the rest, drawn at random.

    New are train events that the base did not train on, items with another title, and tokens without a meaning before.
    Events are replayed by whole users: one window then holds many of them. Single events would cost a window each.

    Args:
        parents: the artifacts of this run and, in the roles of `base_role`, of the base.
        histories: of this run.
        data: what the text tasks are made of; None where no text task has a weight.
        replay: share of the rest, 0 to 1.
        seed: of the draws.
    """
    random = np.random.default_rng([seed, 2])
    items, base_items = (parents[role].frame("items", [C.ITEM, C.TITLE]) for role in ("ingest", base_role("ingest")))
    is_new_item = unchanged_rows(items, base_items, (C.TITLE,)) < 0
    is_train = histories.splits == Split.TRAIN.value
    is_new_event = is_train & _is_new_event(histories, items[C.ITEM].to_numpy(dtype=object), parents)
    base_meanings = meanings_of(parents[base_role("sa_init")])
    is_new_token = np.array([token not in base_meanings for token in data.tokens] if data else [], dtype=bool)
    is_replayed_event = is_train & (random.random(histories.n_users) < replay)[histories.users()]
    return TrainingRows(
        events=is_new_event | is_replayed_event,
        items=is_new_item | (random.random(len(is_new_item)) < replay),
        tokens=is_new_token | (random.random(len(is_new_token)) < replay),
        counts={
            "n_new_events": int(is_new_event.sum()),
            "n_known_events": int((is_train & ~is_new_event).sum()),
            "n_new_items": int(is_new_item.sum()),
        },
    )


def first_used_tokens(parents: Parents) -> np.ndarray:
    """(n_tokens,) bool: SID tokens that no item of the base had, and one has now. The base never learned them."""
    n_items_in_base, n_items = (
        parents[role].table("token_semantics", [C.N_ITEMS])[C.N_ITEMS].to_numpy()
        for role in (base_role("sa_init"), "sa_init")
    )
    return (n_items_in_base == 0) & (n_items > 0)


def base_sid_rows(model: PreTrainedModel, folder: Path, space: SidSpace, n_text: int) -> torch.Tensor:
    """(n_tokens, D) float32: the SID rows of the base's trained `model`, which lies in `folder`.

    `n_text` is how many tokens come before them in this run's vocabulary.

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


def _is_new_event(histories: Histories, item_ids: np.ndarray, parents: Parents) -> np.ndarray:
    """(E,) bool: events that were no train events of the base, by user, item and time."""
    events = pd.DataFrame(
        {
            C.USER: histories.user_ids[histories.users()],
            C.ITEM: item_ids[histories.items],
            C.TIMESTAMP: histories.times,
        }
    )
    base_events = parents[base_role("ingest")].frame("interactions", [*_EVENT_KEY, C.SPLIT])
    base_events = base_events[base_events[C.SPLIT] == Split.TRAIN.value][_EVENT_KEY].drop_duplicates()
    joined = events.merge(base_events, on=_EVENT_KEY, how="left", indicator=True)
    return (joined["_merge"] == "left_only").to_numpy()
