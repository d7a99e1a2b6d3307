"""The rl stage: GRPO on the lists of the fine-tuned LLM, so that it ranks the next item higher.

In a refresh it runs once more, whole, on what fine-tuning went on to: it is defined as what follows fine-tuning, and
what it adds to one model is no start for another.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import FinetuneConfig, RlSettings
from tsrec.errors import DataError, TrainingError
from tsrec.finetune.export import write_trained
from tsrec.finetune.grpo import MEASURES, Policy, TargetPrompts
from tsrec.finetune.model import SidModel
from tsrec.finetune.recipe import recipe_of
from tsrec.histories import read_histories
from tsrec.machine.devices import resolve_device, resolve_precision
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import HistoryTokens, first_sid_id
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter
from tsrec.training.mixture import TaskMixture
from tsrec.training.trainer import train

_PROMPTS_COMPARED = 4  # that the export is compared on
_RL = "rl"


def run(settings: RlSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write `model/`, in the form of fine-tuning's, and `training_log`, whose tasks are the measures of rollouts.

    Raises:
        DataError: there is no train target.
        TrainingError: no list ever held the next item; or training diverged.
    """
    config = settings.recipe()
    torch.manual_seed(config.seed)
    folder = parents["finetune"].file("model")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    space = SidSpace(tuple(parents["sids"].json("sid_space")["sizes"]))
    codes = parents["sids"].matrix("item_sids", C.CODES).astype(np.int64)
    first = first_sid_id(tokenizer, space, folder)
    targets = _targets(config, parents, HistoryTokens.from_tokenizer(tokenizer, space, first, codes))
    order = TaskMixture({0: (targets, 1.0)}, config.epochs, config.seed)
    device = resolve_device(config.device)
    model = _load(folder, space, first, config).to(device)
    precision = resolve_precision(config.precision, device)
    policy = Policy(
        model,
        _load(folder, space, first, config).to(device),
        codes,
        settings.own.beams,
        settings.kl,
        precision if precision != torch.float32 else None,
    )
    recipe = recipe_of(config, _RL, shown=tuple(f"task_{name}" for name in MEASURES))
    out.count(n_trainable_parameters=sum(p.numel() for p in policy.parameters() if p.requires_grad))
    log = train(policy, order, [], recipe, out.work, MEASURES, pad_id=0)
    out.count(n_train_targets=len(targets), **_summary(log, settings, len(order)))
    model.to("cpu")
    prompts = [torch.from_numpy(order[place].input_ids) for place in range(min(_PROMPTS_COMPARED, len(order)))]
    write_trained(model, tokenizer, log, prompts, config, out, _RL)


def _targets(config: FinetuneConfig, parents: Parents, tokens: HistoryTokens) -> TargetPrompts:
    histories = read_histories(parents["ingest"])
    events = histories.target_events(Split.TRAIN)
    if not len(events):
        raise DataError("rl: nothing to learn from: no user has two train events; set rl.epochs=0")
    return TargetPrompts(histories, events, tokens, config.window_items)


def _load(folder: Path, space: SidSpace, first: int, config: FinetuneConfig) -> SidModel:
    """A fine-tuned model as it is trained: the rows from token `first` on a parameter of their own."""
    language_model = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, dtype=torch.float32, attn_implementation="sdpa"
    )
    embedding: Any = language_model.get_input_embeddings()
    rows = embedding.weight.detach()[first:].clone()
    return SidModel(language_model, rows, space, first, n_tasks=0, config=config)


def _summary(log: pd.DataFrame, settings: RlSettings, n_groups: int) -> dict[str, float]:
    """Counts for the manifest, from the training log: the share of groups with the next item, first and last rewards.

    Raises:
        TrainingError: no group ever held the next item.
    """
    measures = {name: log[log["task"] == name] for name in MEASURES}
    steps, shares = (measures["hit"][column].to_numpy() for column in ("step", "loss"))
    share = float(np.average(shares, weights=np.diff(steps, prepend=0)))
    if not share:
        raise TrainingError(
            f"rl: in none of {n_groups:,} lists of {settings.own.beams} stood the next item, so nothing could be "
            f"learned; train longer (finetune.epochs), raise rl.beams ({settings.own.beams}) or rl.epochs "
            f"({settings.own.epochs:g}), or set rl.epochs=0"
        )
    rewards, kl = measures["reward"]["loss"], measures["kl"]["loss"]
    return {
        "n_groups": n_groups,
        "share_of_groups_with_next_item": round(share, 6),  # the others are not learned from
        "reward_first": round(float(rewards.iloc[0]), 6),
        "reward_last": round(float(rewards.iloc[-1]), 6),
        "kl_last": round(float(kl.iloc[-1]), 6),
    }
