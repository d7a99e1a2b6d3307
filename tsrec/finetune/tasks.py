"""The SFT tasks as data: a template and the fields that fill it. A new task is one entry in `TASKS`.

The tasks of MiniOneRec (arXiv 2510.24431) and, for single SID tokens, of TS-Align (TS-Rec, arXiv 2602.22632), with
prompts short enough for small budgets. The loss is on the answer and the end token only. Examples are made when they
are asked for: a catalogue has many times more of them than a run ever sees.
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from tsrec.columns import Split
from tsrec.finetune.texts import Texts
from tsrec.histories import Histories
from tsrec.sid.tokens import closing_token, opening_token
from tsrec.training.packing import IGNORED, Example

Over = Literal["items", "events", "tokens"]
"""What the rows of a task stand for: items, train targets, or SID tokens that have a meaning."""

HISTORY_TASK = "history"
DISTILLED = "distilled"
"""What losses on targets that were drawn from the fusion of the other members count for, in histories too."""

_PROMPT_ITEMS = 10  # the last ones of a history in a prompt: as many as MiniOneRec writes
_CACHED_EXAMPLES = 1 << 15  # of each task, which later epochs need not encode again: at most some 100 MB
_LONGEST_TRIED = 16  # lengths are counted value by value; joined, they may differ by a token or two


@dataclass(frozen=True)
class TaskData:
    """What tasks are made of: `titles`, and `sids` of `n_levels` tokens, by item; `meanings` and `keywords` by
    token of `tokens`."""

    titles: Texts
    sids: Sequence[str]
    n_levels: int
    tokens: Sequence[str]
    meanings: Texts
    keywords: Texts
    histories: Histories


@dataclass(frozen=True)
class Field:
    """One field of a template over all R rows of a task: its `value` by row; `n_tokens` and `is_cut`, (R,) each."""

    value: Callable[[int], str]
    n_tokens: np.ndarray
    is_cut: np.ndarray


Fields = dict[str, Field]


@dataclass(frozen=True)
class SftTask:
    """A prompt, its answer, the fields whose values fill both, and what its rows stand for."""

    name: str
    prompt: str
    answer: str
    fields: Callable[[TaskData], Fields]
    over: Over


def _sid_field(sids: Sequence[str]) -> Field:
    """SID tokens, one or several a row: a field that is never cut."""
    n_tokens = np.array([sid.count("<") for sid in sids], dtype=np.int64)
    return Field(sids.__getitem__, n_tokens, np.zeros(len(sids), dtype=bool))


def _text_field(texts: Texts) -> Field:
    return Field(texts.values.__getitem__, texts.n_tokens, texts.is_cut)


def _item_fields(data: TaskData) -> Fields:
    return {"title": _text_field(data.titles), "sid": _sid_field(data.sids)}


def _history_fields(data: TaskData) -> Fields:
    histories, titles, sids = data.histories, data.titles, data.sids
    events = histories.target_events(Split.TRAIN)  # (R,)
    targets = histories.items[events]
    n_items = np.minimum(histories.positions()[events], _PROMPT_ITEMS)

    def history_sids(row: int) -> str:
        return "".join(sids[item] for item in histories.history_of(int(events[row]), _PROMPT_ITEMS))

    return {
        "sids": Field(history_sids, n_items * data.n_levels, np.zeros(len(events), dtype=bool)),
        "title": Field(lambda row: titles.values[targets[row]], titles.n_tokens[targets], titles.is_cut[targets]),
    }


def _token_fields(data: TaskData) -> Fields:
    return {
        "token": _sid_field(data.tokens),
        "meaning": _text_field(data.meanings),
        "keywords": _text_field(data.keywords),
    }


TASKS: tuple[SftTask, ...] = (
    SftTask("title_to_sid", "The item titled {title} is written ", "{sid}", _item_fields, "items"),
    SftTask("sid_to_title", "The title of item {sid} is", " {title}", _item_fields, "items"),
    SftTask("history_to_title", "After {sids} comes the item titled", " {title}", _history_fields, "events"),
    SftTask("token_to_meaning", "The token {token} stands for", " {meaning}", _token_fields, "tokens"),
    SftTask("meaning_to_token", "The token that stands for {meaning} is ", "{token}", _token_fields, "tokens"),
    SftTask("token_to_keywords", "The keywords of token {token} are", " {keywords}", _token_fields, "tokens"),
    SftTask("keywords_to_token", "The token with the keywords {keywords} is ", "{token}", _token_fields, "tokens"),
)

_NAMES = [task.name for task in TASKS]
# A task's place here is its number, which seeds its draws: a new one comes last. `DISTILLED`, which draws nothing,
# keeps the place of a task that is gone.
TASK_NAMES: tuple[str, ...] = (HISTORY_TASK, *_NAMES[:3], DISTILLED, *_NAMES[3:])


class TaskExamples(Dataset[Example]):
    """All examples of one text task, each encoded when it is asked for."""

    def __init__(self, task: SftTask, data: TaskData, tokenizer: PreTrainedTokenizerBase) -> None:
        self.task, self.tokenizer = task, tokenizer
        self._opening, self._closing = opening_token(tokenizer), closing_token(tokenizer)
        fields = task.fields(data)
        self._prompt = {name: fields[name] for name in _names(task.prompt)}
        self._answer = {name: fields[name] for name in _names(task.answer)}
        self._example = lru_cache(_CACHED_EXAMPLES)(self._make)

    @cached_property
    def is_cut(self) -> np.ndarray:
        """(R,) bool: examples of which some text was cut."""
        return np.any([field.is_cut for field in (*self._prompt.values(), *self._answer.values())], axis=0)

    def longest(self) -> int:
        """Tokens of the longest example; 0 where there is none."""
        counts = sum(field.n_tokens for field in (*self._prompt.values(), *self._answer.values()))
        return max(
            (len(self[int(row)].input_ids) for row in np.argsort(-counts, kind="stable")[:_LONGEST_TRIED]), default=0
        )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.is_cut)

    def __getitem__(self, index: int) -> Example:
        """The example of row `index`."""
        if index >= len(self):  # what ends an iteration
            raise IndexError(index)
        return self._example(index)

    def _make(self, index: int) -> Example:
        prompt = self._encode(self.task.prompt, self._prompt, index)
        answer = self._encode(self.task.answer, self._answer, index)
        if not any(field.is_cut[index] for field in self._answer.values()):
            answer.append(self._closing)  # a text that was cut does not end where it was cut
        ids = np.array([self._opening, *prompt, *answer], dtype=np.int64)
        labels = np.full(len(ids) - 1, IGNORED, dtype=np.int64)
        labels[len(prompt) :] = ids[1 + len(prompt) :]
        return Example(ids[:-1], labels, TASK_NAMES.index(self.task.name))

    def _encode(self, template: str, fields: Fields, row: int) -> list[int]:
        text = template.format(**{name: field.value(row) for name, field in fields.items()})
        return self.tokenizer.encode(text, add_special_tokens=False)


def _names(template: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(template) if name]
