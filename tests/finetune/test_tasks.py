"""SFT tasks: prompts, answers, and how often each is seen."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tsrec.columns import Columns as C
from tsrec.config import TaskWeights
from tsrec.finetune.tasks import TASK_NAMES, TASKS, TaskData, sample, text_examples
from tsrec.histories import build_histories
from tsrec.sid import SidSpace
from tsrec.training import IGNORED, Example

TITLES = ["blue gloves", "wood screws", "metal glue {strong}", "toys"]
SIDS = ["<a_0><b_0>", "<a_0><b_1>", "<a_1><b_0>", "<a_1><b_1>"]
MEANINGS = {"<a_0>": "gloves, screws", "<b_1>": "wood and children"}


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone: Path) -> PreTrainedTokenizerBase:
    loaded = AutoTokenizer.from_pretrained(tiny_backbone)
    loaded.add_tokens(SidSpace((2, 2)).tokens(), special_tokens=True)
    return loaded


@pytest.fixture(scope="module")
def data() -> TaskData:
    rows = [("u", f"i{n}", n, n, split) for n, split in enumerate(["train", "train", "train", "test"])]
    frame = pd.DataFrame(rows, columns=[C.USER, C.ITEM, C.TIMESTAMP, C.POSITION, C.SPLIT])
    histories = build_histories(frame, pd.Series(["i0", "i1", "i2", "i3"]))
    return TaskData(TITLES, SIDS, MEANINGS, histories, max_history=10)


def _read(example: Example, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """(prompt, answer with its end token) as text."""
    answer = example.labels[example.labels != IGNORED]
    prompt = example.input_ids[: len(example.input_ids) + 1 - len(answer)]
    return tokenizer.decode(prompt), tokenizer.decode(answer)


def _only(task: str, data: TaskData, tokenizer: PreTrainedTokenizerBase, weight: float = 1.0) -> list[tuple[str, str]]:
    weights = TaskWeights(history=0, **{task: weight})
    examples, n_cut = text_examples(data, weights, tokenizer, max_text_tokens=64, seed=1)
    assert n_cut == 0
    assert {example.task for example in examples} <= {TASK_NAMES.index(task)}
    return [_read(example, tokenizer) for example in examples]


@pytest.mark.parametrize(
    ("task", "n", "prompt", "answer"),
    [
        ("title_to_sid", 4, "<s>The item titled metal glue {strong} is written ", "<a_1><b_0></s>"),
        ("sid_to_title", 4, "<s>The title of item <a_1><b_0> is", " metal glue {strong}</s>"),
        ("history_to_title", 2, "<s>After <a_0><b_0><a_0><b_1> comes the item titled", " metal glue {strong}</s>"),
        ("titles_to_sid", 2, "<s>After blue gloves; wood screws comes the item written ", "<a_1><b_0></s>"),
        ("token_to_meaning", 2, "<s>The token <b_1> stands for", " wood and children</s>"),
        ("meaning_to_token", 2, "<s>The token that stands for wood and children is ", "<b_1></s>"),
    ],
)
def test_prompt_and_answer(
    task: str, n: int, prompt: str, answer: str, data: TaskData, tokenizer: PreTrainedTokenizerBase
) -> None:
    examples = _only(task, data, tokenizer)
    assert len(examples) == n
    assert (prompt, answer) in examples


def test_no_test_event_is_learned_from(data: TaskData, tokenizer: PreTrainedTokenizerBase) -> None:
    for task in ("history_to_title", "titles_to_sid"):
        for prompt, answer in _only(task, data, tokenizer):
            assert "toys" not in prompt + answer
            assert SIDS[3] not in prompt + answer


def test_every_task_has_a_weight_in_the_configuration() -> None:
    assert set(TaskWeights.model_fields) == set(TASK_NAMES)
    assert len(TASKS) == len(TASK_NAMES) - 1


@given(st.integers(0, 200), st.floats(0, 4), st.integers(0, 9))
def test_weights_say_how_often_each_row_is_seen(n_rows: int, weight: float, seed: int) -> None:
    chosen = sample(n_rows, weight, np.random.default_rng(seed))
    times = np.bincount(chosen, minlength=n_rows)
    assert len(chosen) == int(weight) * n_rows + round(weight % 1 * n_rows)
    assert ((times >= int(weight)) & (times <= int(weight) + 1)).all()
    np.testing.assert_array_equal(chosen, sample(n_rows, weight, np.random.default_rng(seed)))


def test_long_texts_are_cut_and_counted(data: TaskData, tokenizer: PreTrainedTokenizerBase) -> None:
    long = TaskData(["wood " * 50, *TITLES[1:]], SIDS, MEANINGS, data.histories, max_history=10)
    weights = TaskWeights(history=0, title_to_sid=1, sid_to_title=1)
    examples, n_cut = text_examples(long, weights, tokenizer, max_text_tokens=32, seed=1)
    assert n_cut == 2
    assert max(len(example.input_ids) for example in examples) <= 1 + 32 + 32
    prompt, answer = _read(examples[0], tokenizer)
    assert prompt.endswith("is written ")
    assert answer == "<a_0><b_0></s>"
