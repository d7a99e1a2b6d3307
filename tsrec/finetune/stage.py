"""The finetune stage: examples, training, export."""

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from tsrec.causal_lm import max_tokens
from tsrec.columns import Columns as C
from tsrec.config import Config, ContinuedFinetune, FinetuneConfig
from tsrec.errors import ConfigError
from tsrec.finetune.continuing import newly_used, trained_rows
from tsrec.finetune.examples import build_examples
from tsrec.finetune.export_check import check_export
from tsrec.finetune.model import SidModel
from tsrec.finetune.tasks import TASK_NAMES
from tsrec.sid import SidSpace
from tsrec.sid_tokens import add_sid_tokens, closing_token
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter, base_role
from tsrec.training import Recipe, resolve_device, resolve_precision, train

_PROMPT_TOKENS = 64  # of each prompt that the export is compared on


def run(settings: FinetuneConfig | ContinuedFinetune, parents: Parents, out: ArtifactWriter) -> None:
    """Write `model/` (a plain causal LM with SID tokens) and `training_log`; with a base, going on from its weights."""
    continued = settings if isinstance(settings, ContinuedFinetune) else None
    config = continued.shortened() if continued else settings
    assert isinstance(config, FinetuneConfig)
    torch.manual_seed(config.seed)
    folder = parents["backbone"].file("model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    space = SidSpace(tuple(parents["sids"].json("sid_space")["sizes"]))
    n_text = add_sid_tokens(tokenizer, space)
    replay = continued.go_on.replay if continued else None
    examples = build_examples(config, parents, tokenizer, space, n_text, replay)
    out.count(**examples.counts)
    _check_length(AutoConfig.from_pretrained(folder), examples.longest, config)
    start = parents[base_role("finetune")].file("model") if continued else folder
    language_model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32, attn_implementation="sdpa")
    if config.gradient_checkpointing:
        language_model.gradient_checkpointing_enable()
    sid_rows = torch.from_numpy(parents["sa_init"].matrix("token_embeddings", C.EMBEDDING).astype(np.float32))
    if continued:
        known = trained_rows(parents, language_model, start, space, n_text)
        first_used = newly_used(parents)
        sid_rows = torch.where(torch.from_numpy(first_used)[:, None], sid_rows, known)
        out.count(n_tokens_first_used=int(first_used.sum()))
    model = SidModel(language_model, sid_rows, space, n_text, len(TASK_NAMES), config)
    out.count(n_trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad))
    device = resolve_device(config.device)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else closing_token(tokenizer)
    recipe = _recipe(config)
    log = train(model.to(device), examples.train, examples.valid, recipe, out.work, TASK_NAMES, pad_id)
    model.to("cpu")
    prompts = [torch.from_numpy(example.input_ids[:_PROMPT_TOKENS]) for example in examples.some()]
    logits = [model.logits(prompt) for prompt in prompts]
    model.export(out.directory("model"), tokenizer)
    difference = check_export(out.directory("model"), prompts, logits, space)
    out.write_table("training_log", log)
    out.count(
        precision=str(resolve_precision(config.precision, device)).removeprefix("torch."),
        device=str(device),
        export_difference=difference,
    )


def _check_length(model: PreTrainedConfig, longest: int, config: FinetuneConfig) -> None:
    limit = max_tokens(model)
    if limit is not None and longest > limit:
        raise ConfigError(
            f"the longest sequence of this run has {longest} tokens, and the backbone ({model.model_type}) sees "
            f"{limit}; lower finetune.window_items ({config.window_items}), finetune.max_text_tokens "
            f"({config.max_text_tokens}) or finetune.max_history ({config.max_history}), or choose another "
            "backbone.model"
        )


def _recipe(config: FinetuneConfig) -> Recipe:
    own = {"sid_rows": config.sid_learning_rate} if config.sid_learning_rate else {}
    return Recipe(
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
        advice=f"lower finetune.learning_rate ({config.learning_rate:g}) and finetune.sid_learning_rate "
        f"({config.sid_learning_rate or config.learning_rate:g}), raise finetune.warmup_steps ({config.warmup_steps}), "
        "or set finetune.precision to float32",
    )


def _parents(config: Config) -> tuple[str, ...]:
    semantics = ("semantics",) if config.has_semantics() else ()
    return ("ingest", "sids", "sa_init", *semantics, "backbone")


STAGE = Stage(
    name="finetune",
    version=3,
    config=lambda config: config.finetune,
    parents=_parents,
    run=run,
    bases=("finetune", "ingest", "sa_init"),
    extending=lambda config: ContinuedFinetune(whole=config.finetune, go_on=config.refresh.training),
)
