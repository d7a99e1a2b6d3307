"""SFT tasks: prompts, answers, and how often each is seen."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase

from tests.plain_histories import build_histories
from tsrec.backbone import wheel
from tsrec.columns import Columns as C
from tsrec.config import TaskWeights
from tsrec.finetune.tasks import DISTILLED, TASK_NAMES, TASKS, TaskData, TaskExamples
from tsrec.finetune.texts import MAX_TEXT_TOKENS, cut_texts
from tsrec.sid.space import SidSpace
from tsrec.training.packing import IGNORED, Example

PUBLISHED = Path(__file__).parents[2] / "../shared/data/industrial/published_token_semantics.json.gz"
TITLES = ["blue gloves", "wood screws", "metal glue {strong}", "toys"]
SIDS = ["<a_0><b_0>", "<a_0><b_1>", "<a_1><b_0>", "<a_1><b_1>"]
MEANINGS = {"<a_0>": "gloves, screws", "<b_1>": "wood and children"}
KEYWORDS = ["gloves, glue", "toys"]


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone: Path) -> PreTrainedTokenizerBase:
    loaded = AutoTokenizer.from_pretrained(tiny_backbone)
    loaded.add_tokens(SidSpace((2, 2)).tokens(), special_tokens=True)
    return loaded


def _data(
    tokenizer: PreTrainedTokenizerBase, max_tokens: int = 64, n_train: int = 3, **changes: Sequence[str]
) -> TaskData:
    rows = [("u", f"i{n % 4}", n, n, split) for n, split in enumerate([*["train"] * n_train, "test"])]
    frame = pd.DataFrame(rows, columns=[C.USER, C.ITEM, C.TIMESTAMP, C.POSITION, C.SPLIT])
    return TaskData(
        titles=cut_texts(changes.get("titles", TITLES), tokenizer, max_tokens),
        sids=SIDS,
        n_levels=2,
        tokens=list(MEANINGS),
        meanings=cut_texts(changes.get("meanings", list(MEANINGS.values())), tokenizer, max_tokens),
        keywords=cut_texts(changes.get("keywords", KEYWORDS), tokenizer, max_tokens),
        histories=build_histories(frame, pd.Series(["i0", "i1", "i2", "i3"])),
    )


def _examples(task: str, data: TaskData, tokenizer: PreTrainedTokenizerBase) -> TaskExamples:
    return TaskExamples(next(known for known in TASKS if known.name == task), data, tokenizer)


def _read(example: Example, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """(prompt, answer with its end token) as text."""
    answer = example.labels[example.labels != IGNORED]
    prompt = example.input_ids[: len(example.input_ids) + 1 - len(answer)]
    return tokenizer.decode(prompt), tokenizer.decode(answer)


def _only(task: str, tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, str]]:
    examples = _examples(task, _data(tokenizer), tokenizer)
    assert not examples.is_cut.any()
    assert {example.task for example in examples} == {TASK_NAMES.index(task)}
    return [_read(example, tokenizer) for example in examples]


@pytest.mark.parametrize(
    ("task", "n", "prompt", "answer"),
    [
        ("title_to_sid", 4, "<s>The item titled metal glue {strong} is written ", "<a_1><b_0></s>"),
        ("sid_to_title", 4, "<s>The title of item <a_1><b_0> is", " metal glue {strong}</s>"),
        ("history_to_title", 2, "<s>After <a_0><b_0><a_0><b_1> comes the item titled", " metal glue {strong}</s>"),
        ("token_to_meaning", 2, "<s>The token <b_1> stands for", " wood and children</s>"),
        ("meaning_to_token", 2, "<s>The token that stands for wood and children is ", "<b_1></s>"),
        ("token_to_keywords", 2, "<s>The keywords of token <a_0> are", " gloves, glue</s>"),
        ("keywords_to_token", 2, "<s>The token with the keywords toys is ", "<b_1></s>"),
    ],
)
def test_prompt_and_answer(task: str, n: int, prompt: str, answer: str, tokenizer: PreTrainedTokenizerBase) -> None:
    examples = _only(task, tokenizer)
    assert len(examples) == n
    assert (prompt, answer) in examples


def test_no_test_event_is_learned_from(tokenizer: PreTrainedTokenizerBase) -> None:
    for prompt, answer in _only("history_to_title", tokenizer):
        assert "toys" not in prompt + answer
        assert SIDS[3] not in prompt + answer


def test_ten_items_of_a_history_are_written_out(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = _examples("history_to_title", _data(tokenizer, n_train=13), tokenizer)
    lengths = [_read(example, tokenizer)[0].count("<a_") for example in examples]
    assert lengths == [*range(1, 11), 10, 10]
    newest = "".join(SIDS[n % 4] for n in range(2, 12))
    assert _read(examples[11], tokenizer) == (f"<s>After {newest} comes the item titled", " blue gloves</s>")


def test_every_task_has_a_weight_in_the_configuration() -> None:
    assert {*TaskWeights.model_fields, DISTILLED} == set(TASK_NAMES)
    assert len(TASKS) == len(TASK_NAMES) - 2


LONG = "wood " * 40 + "end"
CUT = ("wood " * 7).rstrip()  # to 8 tokens: each word is one, the first without its blank two


@pytest.mark.parametrize(
    ("task", "prompt", "answer"),
    [
        ("title_to_sid", f"<s>The item titled {CUT} is written ", "<a_0><b_0></s>"),
        ("sid_to_title", "<s>The title of item <a_0><b_0> is", f" {CUT}"),
        ("history_to_title", "<s>After <a_0><b_0> comes the item titled", f" {CUT}"),
        ("token_to_meaning", "<s>The token <a_0> stands for", f" {CUT}"),
        ("meaning_to_token", f"<s>The token that stands for {CUT} is ", "<a_0></s>"),
        ("token_to_keywords", "<s>The keywords of token <a_0> are", f" {CUT}"),
        ("keywords_to_token", f"<s>The token with the keywords {CUT} is ", "<a_0></s>"),
    ],
)
def test_a_cut_takes_from_the_value_and_a_cut_answer_has_no_end(
    task: str, prompt: str, answer: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    data = _data(tokenizer, 8, titles=[LONG, LONG, TITLES[0], TITLES[1]], meanings=[LONG, "toys"], keywords=[LONG, "x"])
    examples = _examples(task, data, tokenizer)
    read = [_read(example, tokenizer) for example in examples]
    assert (prompt, answer) in read
    over_items = ("title_to_sid", "sid_to_title")
    assert examples.is_cut.sum() == (2 if task in over_items else 1)
    assert all(text.endswith("</s>") for _, text in read if LONG[:20] not in text)


@pytest.mark.parametrize("text", ["wooden 木の板 für Möbel 👩‍🔧👩‍🔧 e\u0301 " * 9, LONG, "x" * 300])
@pytest.mark.parametrize("max_tokens", [4, 5, 6, 7, 33])
def test_a_cut_text_is_the_beginning_of_the_text(
    text: str, max_tokens: int, tokenizer: PreTrainedTokenizerBase
) -> None:
    cut = cut_texts([text, "short"], tokenizer, max_tokens)
    assert text.startswith(cut.values[0])
    assert cut.values[0]
    assert len(tokenizer.encode(cut.values[0], add_special_tokens=False)) <= max_tokens
    assert cut.values[1] == "short"
    assert cut.is_cut.tolist() == [True, len(tokenizer.encode("short", add_special_tokens=False)) > max_tokens]


def test_a_tokenizer_written_in_python_cuts_too() -> None:
    cut = cut_texts(["abcdefgh", "abc"], ByT5Tokenizer(), 4)
    assert (cut.values, cut.n_tokens.tolist(), cut.is_cut.tolist()) == (["abcd", "abc"], [4, 3], [True, False])


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_the_longest_example_is_found_without_making_all(task: str, tokenizer: PreTrainedTokenizerBase) -> None:
    titles = ["toys " * (5 * n % 37) + "film" for n in range(4)]
    examples = _examples(task, _data(tokenizer, titles=titles), tokenizer)
    assert examples.longest() == max(len(example.input_ids) for example in examples)


@pytest.mark.slow
def test_published_token_semantics_are_cut_nowhere() -> None:
    """What TS-Rec's authors trained on is trained on whole; 145 tokens is the longest under SmolLM2's tokenizer."""
    if not PUBLISHED.exists():
        pytest.skip("the benchmark data (../shared/data from the project's root) are absent")
    weights = wheel.gguf_file()
    tokenizer = AutoTokenizer.from_pretrained(str(weights.parent), gguf_file=weights.name)
    descriptions = [entry["description"] for entry in json.loads(gzip.decompress(PUBLISHED.read_bytes()))]
    assert not cut_texts(descriptions, tokenizer, MAX_TEXT_TOKENS).is_cut.any()
