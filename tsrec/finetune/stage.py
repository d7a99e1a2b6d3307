"""The finetune stage: examples, training, export."""

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import FinetuneConfig
from tsrec.errors import ArtifactError, DataError
from tsrec.finetune.model import SidModel
from tsrec.finetune.sequences import history_examples
from tsrec.finetune.tasks import HISTORY_TASK, TASK_NAMES, TaskData, bos_id, sample, text_examples
from tsrec.histories import build_histories
from tsrec.sid import SidSpace, format_sid
from tsrec.stage import Parents, Stage
from tsrec.store import Artifact, ArtifactWriter
from tsrec.training import Example, Recipe, resolve_device, resolve_precision, train


def run(config: FinetuneConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `model/` (a plain causal LM with SID tokens) and `training_log`."""
    torch.manual_seed(config.seed)
    folder = parents["backbone"].file("model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    n_text = len(tokenizer)
    space = SidSpace(tuple(parents["sids"].json("sid_space")["sizes"]))
    tokenizer.add_tokens(space.tokens(), special_tokens=True)
    _check_numbering(tokenizer, space, n_text)
    train_examples, valid_examples = _examples(config, parents, tokenizer, space, n_text, out)
    language_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    if config.gradient_checkpointing:
        language_model.gradient_checkpointing_enable()
    sid_rows = torch.from_numpy(parents["sa_init"].matrix("token_embeddings", C.EMBEDDING).astype(np.float32))
    model = SidModel(language_model, sid_rows, space, n_text, len(TASK_NAMES), config)
    out.count(n_trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad))
    device = resolve_device(config.device)
    log = train(
        model.to(device),
        train_examples,
        valid_examples,
        _recipe(config),
        out.work,
        TASK_NAMES,
        pad_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )
    model.to("cpu").export(out.directory("model"), tokenizer)
    out.write_table("training_log", log)
    out.count(
        precision=str(resolve_precision(config.precision, device)).removeprefix("torch."),
        device=str(device),
        n_train_examples=len(train_examples),
        n_valid_examples=len(valid_examples),
        n_train_tokens_per_epoch=sum(len(example.input_ids) for example in train_examples),
    )


def _examples(
    config: FinetuneConfig,
    parents: Parents,
    tokenizer: PreTrainedTokenizerBase,
    space: SidSpace,
    n_text: int,
    out: ArtifactWriter,
) -> tuple[list[Example], list[Example]]:
    items = parents["ingest"].frame("items", [C.ITEM, C.TITLE])
    histories = build_histories(parents["ingest"].frame("interactions"), items[C.ITEM])
    codes = parents["sids"].matrix("item_sids", C.CODES).astype(np.int64)
    item_tokens = n_text + np.array(space.offsets) + codes  # (n_items, L)
    bos, task = bos_id(tokenizer), TASK_NAMES.index(HISTORY_TASK)
    window = config.window_items
    histories_train = history_examples(histories, item_tokens, Split.TRAIN, window, config.window_overlap, bos, task)
    chosen = sample(len(histories_train), config.tasks.history, np.random.default_rng([config.seed, task]))
    data = TaskData(
        titles=items[C.TITLE].tolist(),
        sids=[format_sid(sid) for sid in codes],
        meanings=_meanings(parents["sa_init"]),
        histories=histories,
        max_history=config.max_history,
    )
    texts, n_cut = text_examples(data, config.tasks, tokenizer, config.max_text_tokens, config.seed)
    out.count(n_texts_cut=n_cut)
    train_examples = [*(histories_train[index] for index in chosen), *texts]
    if not train_examples:
        raise DataError("nothing to train on: no user has two train events, or every weight in finetune.tasks is 0")
    # On valid the prompt is as long as in evaluation: all context that a window holds.
    valid_examples = history_examples(histories, item_tokens, Split.VALID, window, window - 1, bos, task)
    share = min(1.0, config.max_valid_histories / max(1, len(valid_examples)))
    drawn = sample(len(valid_examples), share, np.random.default_rng([config.seed, len(TASK_NAMES)]))
    return train_examples, [valid_examples[index] for index in drawn]


def _meanings(sa_init: Artifact) -> dict[str, str]:
    """Token -> what its cluster means: the description where there is one, else the keywords."""
    meanings = {}
    for row in sa_init.frame("token_semantics").itertuples(index=False):
        meaning = row.description or ", ".join(row.keywords)
        if meaning:
            meanings[row.token] = meaning
    return meanings


def _check_numbering(tokenizer: PreTrainedTokenizerBase, space: SidSpace, n_text: int) -> None:
    """SID token i has to be token `n_text + i`: everything else computes ids instead of looking them up."""
    ids = tokenizer.convert_tokens_to_ids(space.tokens())
    if ids != list(range(n_text, n_text + space.n_tokens)):
        raise ArtifactError("the backbone's tokenizer already holds SID tokens; start from the original model")


def _recipe(config: FinetuneConfig) -> Recipe:
    own = {"sid_rows": config.sid_learning_rate} if config.sid_learning_rate else {}
    return Recipe(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        evals_per_epoch=config.evals_per_epoch,
        patience=config.patience,
        precision=config.precision,
        device=config.device,
        seed=config.seed,
        own_rates=own,
    )


STAGE = Stage(
    name="finetune",
    version=2,
    config=lambda config: config.finetune,
    parents=lambda _: ("ingest", "sids", "sa_init", "backbone"),
    run=run,
)
