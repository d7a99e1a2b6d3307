"""Setting up a training of SID tokens: the vocabulary, the examples, the recipe, and the model on its Trainer.

Knows neither what is kept of the result nor which weights it starts from.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tsrec.config import FinetuneConfig, FinetuneSettings
from tsrec.errors import ConfigError
from tsrec.finetune.examples import RunExamples, build_examples
from tsrec.finetune.model import SidModel
from tsrec.finetune.tasks import TASK_NAMES
from tsrec.llm.causal_lm import max_tokens
from tsrec.machine.devices import resolve_device
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import add_sid_tokens, closing_token
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter
from tsrec.training.trainer import Recipe, train


@dataclass(frozen=True)
class Prepared:
    """What a training needs: the `examples`, and the backbone's `tokenizer` with the SID tokens of `space`.

    The first SID token has the id `n_text`.
    """

    tokenizer: PreTrainedTokenizerBase
    space: SidSpace
    n_text: int
    examples: RunExamples


def prepare(config: FinetuneConfig, parents: Parents, out: ArtifactWriter, replay: float | None = None) -> Prepared:
    """Work out what a training sees; `replay` as in `build_examples`. What is counted goes to the manifest.

    Raises:
        DataError: there is nothing to train on.
        ConfigError: a sequence is longer than the backbone sees.
    """
    folder = parents["backbone"].file("model")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    space = SidSpace(tuple(parents["sids"].json("sid_space")["sizes"]))
    n_text = add_sid_tokens(tokenizer, space)
    examples = build_examples(config, parents, tokenizer, space, n_text, replay)
    out.count(**examples.counts)
    _check_length(AutoConfig.from_pretrained(folder, trust_remote_code=False), examples.longest, config)
    return Prepared(tokenizer, space, n_text, examples)


def fit(
    config: FinetuneSettings,
    prepared: Prepared,
    language_model: PreTrainedModel,
    sid_rows: torch.Tensor,
    out: ArtifactWriter,
) -> tuple[SidModel, pd.DataFrame]:
    """Train from `sid_rows` (n_sid, D) float32, and return the model, on the CPU, and the training log.

    A killed call goes on from its last checkpoint.
    """
    if config.gradient_checkpointing:
        language_model.gradient_checkpointing_enable()
    model = SidModel(language_model, sid_rows, prepared.space, prepared.n_text, len(TASK_NAMES), config)
    out.count(n_trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad))
    tokenizer, examples = prepared.tokenizer, prepared.examples
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else closing_token(tokenizer)
    model.to(resolve_device(config.device))
    recipe = recipe_of(config, "finetune")
    log = train(model, examples.train, examples.valid, recipe, out.work, TASK_NAMES, pad_id)
    model.to("cpu")
    return model, log


def _check_length(model: PreTrainedConfig, longest: int, config: FinetuneConfig) -> None:
    limit = max_tokens(model)
    if limit is not None and longest > limit:
        raise ConfigError(
            f"the longest sequence of this run has {longest} tokens, and the backbone ({model.model_type}) sees "
            f"{limit}; lower finetune.window_items ({config.window_items}), set the weight of tasks with long texts "
            "to 0 (finetune.tasks), or choose another backbone.model"
        )


def recipe_of(config: FinetuneSettings, section: str, **more: Any) -> Recipe:
    """The Trainer's recipe for a `SidModel`, from the settings.

    Args:
        config: how to train.
        section: the section of the configuration that sets the rates, for messages.
        more: fields of the recipe that are no settings.
    """
    return Recipe(
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=1.0,
        evals_per_epoch=config.evals_per_epoch,
        patience=config.patience,
        precision=config.precision,
        device=config.device,
        seed=config.seed,
        own_rates={"sid_rows": config.sid_learning_rate} if config.sid_learning_rate else {},
        advice=_advice(config, section),
        **more,
    )


def _advice(config: FinetuneConfig, section: str) -> str:
    rates = f"{section}.learning_rate ({config.learning_rate:g})"
    if section == "finetune":
        rates += f" and finetune.sid_learning_rate ({config.sid_learning_rate or config.learning_rate:g})"
    return f"lower {rates}, raise finetune.warmup_steps ({config.warmup_steps}), or set precision to float32"
