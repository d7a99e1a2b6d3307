"""What a run draws from the tables: every promise of `finetune.tasks`, end to end."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.finetune.stage_run import N_ITEMS, SPACE, config, parents
from tsrec.finetune.examples import RunExamples, build_examples
from tsrec.finetune.tasks import TASK_NAMES
from tsrec.finetune.texts import MAX_TEXT_TOKENS
from tsrec.sid.tokens import add_sid_tokens
from tsrec.store import Artifact, ArtifactStore


@pytest.fixture(scope="module")
def described(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return parents(ArtifactStore(tmp_path_factory.mktemp("store")), tiny_backbone)


@pytest.fixture(scope="module")
def before(described: dict[str, Artifact]) -> dict[str, Artifact]:
    return {name: artifact for name, artifact in described.items() if name != "semantics"}


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone: Path) -> PreTrainedTokenizerBase:
    loaded = AutoTokenizer.from_pretrained(tiny_backbone)
    add_sid_tokens(loaded, SPACE)
    return loaded


def _examples(
    before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase, longest: int = MAX_TEXT_TOKENS, **changes: object
) -> tuple[RunExamples, list[str]]:
    """What is built, and the text of all of it; texts have at most `longest` tokens."""
    first = len(tokenizer) - SPACE.n_tokens
    built = build_examples(config(**changes), before, tokenizer, SPACE, first, max_text_tokens=longest)
    return built, [tokenizer.decode(example.input_ids) for example in built.train]


def test_a_quarter_per_epoch_has_seen_every_example_after_four(
    before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase
) -> None:
    built, texts = _examples(before, tokenizer, tasks={"history": 0.25, "sid_to_title": 0.25}, epochs=4)
    titles = [text for text in texts if text.startswith("<s>The title of item")]
    assert len(titles) == len(set(titles)) == N_ITEMS
    assert built.counts["n_train_examples"] == len(texts) == 40 + N_ITEMS
    per_epoch = [example.task for example in built.train]
    assert per_epoch[:18].count(TASK_NAMES.index("history")) == 10


def test_a_token_without_a_description_is_described_by_its_keywords(
    before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase
) -> None:
    _, texts = _examples(before, tokenizer, tasks={"history": 0, "meaning_to_token": 1}, epochs=1)
    assert "<s>The token that stands for wood, glue is <a_0>" in texts
    assert "<s>The token that stands for gloves for cleaning is <a_1>" in texts


def test_cut_texts_are_counted_per_task(before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase) -> None:
    tasks = {"history": 1, "title_to_sid": 0.1, "history_to_title": 0.01, "token_to_meaning": 1}
    whole = _examples(before, tokenizer, tasks=tasks)[0]
    assert whole.counts["n_texts_cut"] == whole.counts["n_texts_cut_title_to_sid"] == 0
    cut = _examples(before, tokenizer, 4, tasks=tasks)[0]
    assert cut.counts["n_texts_cut_title_to_sid"] == N_ITEMS
    assert cut.counts["n_texts_cut_history_to_title"] > N_ITEMS
    assert 0 < cut.counts["n_texts_cut_token_to_meaning"] <= SPACE.n_tokens
    assert cut.counts["n_texts_cut"] == sum(
        count for name, count in cut.counts.items() if name.startswith("n_texts_cut_")
    )


def test_the_longest_sequence_is_known_beforehand(
    before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase
) -> None:
    built, _ = _examples(before, tokenizer, tasks={"history": 1, "history_to_title": 1}, epochs=1, window_items=9)
    assert built.longest == max(len(example.input_ids) for example in built.train)
    only_histories, _ = _examples(before, tokenizer, tasks={"history": 1}, epochs=1, window_items=30)
    assert only_histories.longest == 31 * SPACE.n_levels  # decoding writes one item more than a window holds


def test_what_a_teacher_says_of_a_token_is_taught_instead(
    described: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase
) -> None:
    tasks = {"history": 0, "token_to_meaning": 1, "keywords_to_token": 1}
    built, _ = _examples(described, tokenizer, tasks=tasks, epochs=1)
    whole = [tokenizer.decode([*example.input_ids, example.labels[-1]]) for example in built.train]
    assert "<s>The token <b_1> stands for tool</s>" in whole
    assert "<s>The token <a_0> stands for gloves</s>" in whole  # no description: its keywords
    assert "<s>The token with the keywords glue, tools is <b_1></s>" in whole
    assert "<s>The token <a_1> stands for gloves for cleaning</s>" in whole  # nothing was said of it
    assert len(whole) == 2 * SPACE.n_tokens  # each once
