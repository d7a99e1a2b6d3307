"""What a run draws from the tables: every promise of `finetune.tasks` and `finetune.max_text_tokens`, end to end."""

import re
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.finetune.stage_run import N_ITEMS, SPACE, config, parents
from tsrec.config import Config, FinetuneConfig
from tsrec.finetune import examples
from tsrec.finetune.examples import RunExamples, build_examples
from tsrec.finetune.meanings import groups_of
from tsrec.finetune.tasks import TASK_NAMES
from tsrec.sid.space import format_sid
from tsrec.sid.tokens import add_sid_tokens
from tsrec.store import Artifact, ArtifactStore


@pytest.fixture(scope="module")
def before(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return parents(ArtifactStore(tmp_path_factory.mktemp("store")), tiny_backbone)


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone: Path) -> PreTrainedTokenizerBase:
    loaded = AutoTokenizer.from_pretrained(tiny_backbone)
    add_sid_tokens(loaded, SPACE)
    return loaded


def _has_semantics(settings: FinetuneConfig) -> bool:
    return Config(finetune=settings).needs_semantics()


def _examples(
    before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase, **changes: object
) -> tuple[RunExamples, list[str]]:
    """What is built, and the text of all of it."""
    settings = config(**changes)
    parents = {name: artifact for name, artifact in before.items() if name != "semantics" or _has_semantics(settings)}
    built = build_examples(settings, parents, tokenizer, SPACE, len(tokenizer) - SPACE.n_tokens)
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
    tasks = {"history": 1, "title_to_sid": 0.1, "titles_to_sid": 0.01, "token_to_meaning": 1}
    whole = _examples(before, tokenizer, tasks=tasks)[0]
    assert whole.counts["n_texts_cut"] == whole.counts["n_texts_cut_title_to_sid"] == 0
    cut = _examples(before, tokenizer, tasks=tasks, max_text_tokens=4)[0]
    assert cut.counts["n_texts_cut_title_to_sid"] == N_ITEMS
    assert cut.counts["n_texts_cut_titles_to_sid"] > N_ITEMS
    assert 0 < cut.counts["n_texts_cut_token_to_meaning"] <= SPACE.n_tokens
    assert cut.counts["n_texts_cut"] == sum(
        count for name, count in cut.counts.items() if name.startswith("n_texts_cut_")
    )


def test_the_longest_sequence_is_known_beforehand(
    before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase
) -> None:
    built, _ = _examples(before, tokenizer, tasks={"history": 1, "titles_to_sid": 1}, epochs=1)
    assert built.longest == max(len(example.input_ids) for example in built.train)
    only_histories, _ = _examples(before, tokenizer, tasks={"history": 1}, epochs=1, window_items=30)
    assert only_histories.longest == 31 * SPACE.n_levels  # decoding writes one item more than a window holds


MEANINGS = {"history": 0, "token_to_meaning": 1}
N_PREFIXES = 2  # that the semantics stage describes


@pytest.mark.parametrize(
    ("semantics", "first", "deeper", "prefixes"),
    [("token", 3, 7, 0), ("prefix", 3, 0, N_PREFIXES), ("both", 3, 7, N_PREFIXES)],
)
def test_tokens_prefixes_or_both_are_taught_each_once(
    before: dict[str, Artifact],
    tokenizer: PreTrainedTokenizerBase,
    semantics: str,
    first: int,
    deeper: int,
    prefixes: int,
) -> None:
    _, texts = _examples(before, tokenizer, tasks=MEANINGS, epochs=1, semantics=semantics)
    subjects = [re.match(r"<s>The token ((?:<[a-c]_\d>)+) stands", text)[1] for text in texts]
    assert len(set(subjects)) == len(subjects)
    assert sum(subject.startswith("<a") and "><" not in subject for subject in subjects) == first
    assert sum(subject.startswith(("<b", "<c")) for subject in subjects) == deeper
    assert sum("><" in subject for subject in subjects) == prefixes


def test_a_prefix_is_taught_by_what_the_semantics_stage_says_of_it(
    before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase
) -> None:
    tasks = {"history": 0, "token_to_meaning": 1, "keywords_to_token": 1}
    built, _ = _examples(before, tokenizer, tasks=tasks, epochs=1, semantics="prefix")
    whole = [tokenizer.decode([*example.input_ids, example.labels[-1]]) for example in built.train]
    assert "<s>The token <a_2><b_1> stands for tool</s>" in whole
    assert "<s>The token <a_0><b_0> stands for gloves</s>" in whole  # no description: its keywords
    assert "<s>The token with the keywords glue, tools is <a_2><b_1></s>" in whole


@pytest.mark.parametrize(("semantics", "n_clusters"), [("token", 3 + 3 + 4), ("prefix", 3 + 9 + 30), ("both", 10 + 39)])
def test_items_that_share_a_token_are_named_in_groups_of_it(
    before: dict[str, Artifact], tokenizer: PreTrainedTokenizerBase, semantics: str, n_clusters: int
) -> None:
    codes = before["sids"].matrix("item_sids", "codes")
    settings = config(tasks={"items_to_token": 1}, semantics=semantics, shared_items=3)
    groups = groups_of(codes, np.ones(N_ITEMS, dtype=bool), settings)
    named: dict[str, list[int]] = {}
    for group in groups:
        assert 2 <= len(group.items) <= 3
        named.setdefault(group.token, []).extend(group.items.tolist())
    for token, items in named.items():
        mine = [item for item, sid in enumerate(codes) if _carries(sid, token)]
        assert sorted(items) == mine  # each once, and no other's
    assert len(named) <= n_clusters
    full_depth = [token for token in named if token.count("<") == 3]
    assert not full_depth  # SIDs are unique: no two items share a whole one
    _, texts = _examples(
        before, tokenizer, tasks={"history": 0, "items_to_token": 1}, epochs=1, semantics=semantics, shared_items=3
    )
    assert len(texts) == len(groups)
    assert all(text.count("blue gloves") >= 2 for text in texts)


def _carries(sid: np.ndarray, token: str) -> bool:
    spelled = format_sid(sid)
    return spelled.startswith(token) if token.startswith("<a") else token in spelled


def test_items_without_a_title_stand_in_no_group() -> None:
    codes = np.array([[0], [0], [0], [1], [1]])
    has_title = np.array([True, False, True, True, False])
    [group] = groups_of(codes, has_title, config(tasks={"items_to_token": 1}))
    assert (group.token, sorted(group.items)) == ("<a_0>", [0, 2])


def test_the_sample_of_valid_is_what_it_was_when_models_were_trained() -> None:
    """It is drawn by a number that new tasks must not move: early stopping rests on it."""
    assert examples._VALID_STREAM == 7
    assert [TASK_NAMES.index(name) for name in ("history", "title_to_sid", "meaning_to_token")] == [0, 1, 6]
