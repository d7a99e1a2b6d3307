"""The finetune stage: the vocabulary, the examples, training and export."""

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from tsrec.columns import Columns as C
from tsrec.config import ContinuedFinetune, FinetuneConfig, FinetuneSettings
from tsrec.errors import ConfigError
from tsrec.finetune.examples import build_examples
from tsrec.finetune.export import write_trained
from tsrec.finetune.incremental import base_sid_rows, first_used_tokens
from tsrec.finetune.model import SidModel
from tsrec.finetune.recipe import recipe_of
from tsrec.finetune.tasks import TASK_NAMES
from tsrec.llm.causal_lm import max_tokens
from tsrec.machine.devices import resolve_device
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import add_sid_tokens, closing_token
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter, base_role
from tsrec.store.manifest import Count
from tsrec.training.processes import is_first_process, run_in_processes
from tsrec.training.trainer import train

_PROMPT_TOKENS = 64  # of each prompt that the export is compared on


def run(settings: FinetuneSettings | ContinuedFinetune, parents: Parents, out: ArtifactWriter) -> None:
    """Write `model/` (a plain causal LM with SID tokens) and `training_log`; with a base, going on from its weights.

    Raises:
        DataError: there is nothing to train on.
        ConfigError: a sequence is longer than the backbone sees, or GPUs are too few for the processes.
        TrainingError: training diverged or lost a process, or the export is not what was trained.
    """
    config = settings.whole if isinstance(settings, ContinuedFinetune) else settings
    if config.processes == 1:
        _train_here(settings, parents, out)
    else:
        out.count(**run_in_processes(_train_here, (settings, parents, out), config.processes, config.device))


def _train_here(
    settings: FinetuneSettings | ContinuedFinetune, parents: Parents, out: ArtifactWriter
) -> dict[str, Count]:
    """Do the stage's work in this process; of several that train together, the first one writes.

    Returns:
        what was counted.
    """
    continued = settings if isinstance(settings, ContinuedFinetune) else None
    config = continued.shortened() if continued else settings
    assert isinstance(config, FinetuneSettings)
    torch.manual_seed(config.seed)
    backbone = parents["backbone"].file("model")
    tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
    space = SidSpace(tuple(parents["sids"].json("sid_space")["sizes"]))
    n_text = add_sid_tokens(tokenizer, space)
    examples = build_examples(config, parents, tokenizer, space, n_text, continued.go_on.replay if continued else None)
    out.count(**examples.counts)
    _check_length(AutoConfig.from_pretrained(backbone, trust_remote_code=False), examples.longest, config)
    start = parents[base_role("finetune")].file("model") if continued else backbone
    language_model = AutoModelForCausalLM.from_pretrained(
        start, trust_remote_code=False, dtype=torch.float32, attn_implementation="sdpa"
    )
    sid_rows = torch.from_numpy(parents["sa_init"].matrix("token_embeddings", C.EMBEDDING).astype(np.float32))
    if continued:
        base_rows = base_sid_rows(language_model, start, space, n_text)[: space.n_tokens]
        first_used = first_used_tokens(parents)
        sid_rows[~first_used] = base_rows[~first_used]
        out.count(n_tokens_first_used=int(first_used.sum()))
    if config.gradient_checkpointing:
        language_model.gradient_checkpointing_enable()
    model = SidModel(language_model, sid_rows, space, n_text, len(TASK_NAMES), config)
    out.count(n_trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad))
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else closing_token(tokenizer)
    model.to(resolve_device(config.device))
    log = train(model, examples.train, examples.valid, recipe_of(config, "finetune"), out.work, TASK_NAMES, pad_id)
    if not is_first_process():
        return {}
    model.to("cpu")
    prompts = [torch.from_numpy(example.input_ids[:_PROMPT_TOKENS]) for example in examples.sample()]
    write_trained(model, tokenizer, log, prompts, config, out)
    return out.counts


def _check_length(model: PreTrainedConfig, longest: int, config: FinetuneConfig) -> None:
    limit = max_tokens(model)
    if limit is not None and longest > limit:
        raise ConfigError(
            f"the longest sequence of this run has {longest} tokens, and the backbone ({model.model_type}) sees "
            f"{limit}; lower finetune.window_items ({config.window_items}), set the weight of tasks with long texts "
            "to 0 (finetune.tasks), or choose another backbone.model"
        )
