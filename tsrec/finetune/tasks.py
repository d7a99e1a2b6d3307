"""The SFT tasks as data: a template and the rows that fill it. A new task is one entry in `TASKS`.

The tasks of MiniOneRec (arXiv 2510.24431) and, for single SID tokens, of TS-Align (TS-Rec, arXiv 2602.22632), with
prompts short enough for small budgets. The loss is on the answer and the end token only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from tsrec.columns import Split
from tsrec.config import TaskWeights
from tsrec.histories import Histories
from tsrec.training import IGNORED, Example

HISTORY_TASK = "history"
Row = dict[str, str]


@dataclass(frozen=True)
class TaskData:
    """What task rows are made of. `sids` and `titles` have one entry per item; `meanings` maps token -> meaning."""

    titles: Sequence[str]
    sids: Sequence[str]
    meanings: dict[str, str]
    histories: Histories
    max_history: int

    def train_targets(self) -> Iterator[tuple[np.ndarray, int]]:
        """(history item indices, target item index) of every training target."""
        for event in self.histories.target_events(Split.TRAIN):
            yield self.histories.history_of(int(event), self.max_history), int(self.histories.items[event])


@dataclass(frozen=True)
class SftTask:
    """A prompt, its answer, and the rows whose values fill both."""

    name: str
    prompt: str
    answer: str
    rows: Callable[[TaskData], Iterator[Row]]


def _items(data: TaskData) -> Iterator[Row]:
    for title, sid in zip(data.titles, data.sids, strict=True):
        yield {"title": title, "sid": sid}


def _histories(data: TaskData) -> Iterator[Row]:
    for history, target in data.train_targets():
        yield {
            "sids": "".join(data.sids[item] for item in history),
            "titles": "; ".join(data.titles[item] for item in history),
            "title": data.titles[target],
            "sid": data.sids[target],
        }


def _tokens(data: TaskData) -> Iterator[Row]:
    for token, meaning in data.meanings.items():
        yield {"token": token, "meaning": meaning}


TASKS: tuple[SftTask, ...] = (
    SftTask("title_to_sid", "The item titled {title} is written ", "{sid}", _items),
    SftTask("sid_to_title", "The title of item {sid} is", " {title}", _items),
    SftTask("history_to_title", "After {sids} comes the item titled", " {title}", _histories),
    SftTask("titles_to_sid", "After {titles} comes the item written ", "{sid}", _histories),
    SftTask("token_to_meaning", "The token {token} stands for", " {meaning}", _tokens),
    SftTask("meaning_to_token", "The token that stands for {meaning} is ", "{token}", _tokens),
)

TASK_NAMES: tuple[str, ...] = (HISTORY_TASK, *(task.name for task in TASKS))


def text_examples(
    data: TaskData, weights: TaskWeights, tokenizer: PreTrainedTokenizerBase, max_text_tokens: int, seed: int
) -> tuple[list[Example], int]:
    """The examples of all text tasks in the given mix, and how many texts were cut to `max_text_tokens`."""
    examples, n_cut = [], 0
    for task in TASKS:
        weight = getattr(weights, task.name)
        if not weight:
            continue
        rows = list(task.rows(data))
        for index in sample(len(rows), weight, np.random.default_rng([seed, TASK_NAMES.index(task.name)])):
            example, cut = _encode(task, rows[index], tokenizer, max_text_tokens)
            examples.append(example)
            n_cut += cut
    return examples, n_cut


def sample(n_rows: int, weight: float, random: np.random.Generator) -> np.ndarray:
    """Indices of the rows seen per epoch: each floor(weight) times, and a random share of them once more."""
    whole, part = divmod(weight, 1)
    extra = random.permutation(n_rows)[: round(part * n_rows)]
    return np.sort(np.concatenate([np.tile(np.arange(n_rows), int(whole)), extra])).astype(np.int64)


def _encode(task: SftTask, row: Row, tokenizer: PreTrainedTokenizerBase, max_text_tokens: int) -> tuple[Example, bool]:
    prompt = tokenizer.encode(task.prompt.format(**row), add_special_tokens=False)
    answer = tokenizer.encode(task.answer.format(**row), add_special_tokens=False)
    longest = max_text_tokens * (4 if task.rows is _histories else 1)
    cut = len(prompt) > longest or len(answer) > max_text_tokens
    if len(prompt) > longest:  # keep the end: that is where the question stands
        prompt = prompt[-longest:]
    answer = answer[:max_text_tokens]
    ids = np.array([bos_id(tokenizer), *prompt, *answer, tokenizer.eos_token_id], dtype=np.int64)
    labels = np.full(len(ids) - 1, IGNORED, dtype=np.int64)
    labels[len(prompt) :] = ids[1 + len(prompt) :]
    return Example(ids[:-1], labels, TASK_NAMES.index(task.name)), cut


def bos_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that opens every sequence; models without one (Qwen) open with the end token."""
    return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
