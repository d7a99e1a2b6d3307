"""The examples that a run trains on, and those of its loss on valid, from the tables of the stages before."""

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import FinetuneConfig
from tsrec.errors import DataError
from tsrec.finetune.distilling import DistilledHistories, SoftTargets
from tsrec.finetune.incremental import select_training_rows
from tsrec.finetune.sequences import HistoryExamples
from tsrec.finetune.tasks import HISTORY_TASK, TASK_NAMES, TASKS, TaskData, TaskExamples
from tsrec.finetune.texts import MAX_TEXT_TOKENS, Texts, cut_texts, meanings_of
from tsrec.histories import Histories, read_histories
from tsrec.sid.space import SidSpace, format_sid
from tsrec.sid.tokens import HistoryTokens
from tsrec.stage import Parents
from tsrec.training.mixture import ResampledExamples, TaskMixture
from tsrec.training.packing import Example, Examples

# The stream that the sample of valid is drawn from: the number of tasks there were when it was chosen. Another number
# would draw another sample, and so end every training elsewhere.
_VALID_STREAM = 7


@dataclass(frozen=True)
class RunExamples:
    """The examples of a run: `train` in order, for all epochs, and `valid`.

    `longest` is the length in tokens of the longest example that may be drawn; `counts` go to the manifest.
    """

    train: TaskMixture
    valid: list[Example]
    longest: int
    counts: dict[str, int]

    def sample(self) -> list[Example]:
        """The first few of both kinds."""
        return [*self.valid[:2], *(self.train[index] for index in range(min(3, len(self.train))))]


def build_examples(
    config: FinetuneConfig,
    parents: Parents,
    tokenizer: PreTrainedTokenizerBase,
    space: SidSpace,
    first_sid: int,
    replay: float | None = None,
    max_text_tokens: int = MAX_TEXT_TOKENS,
) -> RunExamples:
    """Prepare every task of the mix and draw what the run sees.

    Args:
        config: the tasks' weights and how histories are cut.
        parents: the artifacts that the stage is handed.
        tokenizer: with the SID tokens.
        space: the codes of every level.
        first_sid: id of the first SID token.
        replay: where training goes on from a base: the share of what the base was trained on that is seen again, beside
            all that is new; None: everything is seen.
        max_text_tokens: of a title or a meaning; the rest of it is cut, and counted.

    Raises:
        DataError: there is nothing to train on.
    """
    histories = read_histories(parents["ingest"])
    codes = parents["sids"].matrix("item_sids", C.CODES)
    tokens = HistoryTokens.from_tokenizer(tokenizer, space, first_sid, codes)
    data = _task_data(parents, histories, codes, tokenizer, max_text_tokens) if config.tasks.with_text() else None
    weighted = [task for task in TASKS if getattr(config.tasks, task.name)]
    text_examples = [TaskExamples(task, data, tokenizer) for task in weighted] if data else []
    task, window, overlap = TASK_NAMES.index(HISTORY_TASK), config.window_items, config.window_overlap
    selected = None if replay is None else select_training_rows(parents, histories, data, replay, config.seed)
    among = selected.events if selected else None
    packed = HistoryExamples(histories, tokens, Split.TRAIN, window, overlap, task, among)
    history_examples: Examples | ResampledExamples = packed
    if config.distill.share:
        soft = SoftTargets.read(parents["soft_targets"], histories)
        history_examples = DistilledHistories(packed, config.seed, soft, config.distill.share)
    parts: dict[int, tuple[Examples | ResampledExamples, float]] = {task: (history_examples, config.tasks.history)}
    for examples in text_examples:
        name = examples.task.name
        seen = selected.subset(examples, histories) if selected else examples
        parts[TASK_NAMES.index(name)] = (seen, getattr(config.tasks, name))
    mixture = TaskMixture(parts, config.epochs, config.seed)
    if not len(mixture):
        raise DataError("nothing to train on: no user has two train events, or every weight in finetune.tasks is 0")
    # On valid the prompt is as long as in evaluation: all context that a window holds.
    valid = HistoryExamples(histories, tokens, Split.VALID, window, window - 1, task)
    drawn = np.random.default_rng([config.seed, _VALID_STREAM]).permutation(len(valid))[: config.max_valid_histories]
    n_cut = {f"n_texts_cut_{examples.task.name}": int(examples.is_cut.sum()) for examples in text_examples}
    return RunExamples(
        train=mixture,
        valid=[valid[int(index)] for index in np.sort(drawn)],
        longest=max([(window + 1) * tokens.n_levels, *(examples.longest() for examples in text_examples)]),
        counts={
            "n_train_examples": len(mixture),
            "n_valid_examples": len(drawn),
            "n_texts_cut": sum(n_cut.values()),
            **n_cut,
            **(selected.counts if selected else {}),
        },
    )


def _task_data(
    parents: Parents, histories: Histories, codes: np.ndarray, tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> TaskData:
    def cut(texts: list[str]) -> Texts:
        return cut_texts(texts, tokenizer, max_tokens)

    # What a teacher says of a token takes the place of what its keywords say.
    meanings = meanings_of(parents["sa_init"]) | (meanings_of(parents["semantics"]) if "semantics" in parents else {})
    return TaskData(
        titles=cut(parents["ingest"].frame("items", [C.TITLE])[C.TITLE].tolist()),
        sids=[format_sid(sid) for sid in codes],
        n_levels=codes.shape[1],
        tokens=list(meanings),
        meanings=cut([meaning.description for meaning in meanings.values()]),
        keywords=cut([meaning.keywords for meaning in meanings.values()]),
        histories=histories,
    )
