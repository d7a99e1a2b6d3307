"""The finetune stage: examples, training, export."""

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from tsrec.columns import Columns as C
from tsrec.config import ContinuedFinetune, FinetuneSettings
from tsrec.finetune.exporting import write_trained
from tsrec.finetune.incremental import base_sid_rows, first_used_tokens
from tsrec.finetune.preparing import fit, prepare
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter, base_role

_PROMPT_TOKENS = 64  # of each prompt that the export is compared on


def run(settings: FinetuneSettings | ContinuedFinetune, parents: Parents, out: ArtifactWriter) -> None:
    """Write `model/` (a plain causal LM with SID tokens) and `training_log`; with a base, going on from its weights."""
    continued = settings if isinstance(settings, ContinuedFinetune) else None
    config = continued.shortened() if continued else settings
    assert isinstance(config, FinetuneSettings)
    torch.manual_seed(config.seed)
    prepared = prepare(config, parents, out, continued.go_on.replay if continued else None)
    tokenizer, space, examples = prepared.tokenizer, prepared.space, prepared.examples
    start = parents[base_role("finetune") if continued else "backbone"].file("model")
    language_model = AutoModelForCausalLM.from_pretrained(
        start, trust_remote_code=False, dtype=torch.float32, attn_implementation="sdpa"
    )
    sid_rows = torch.from_numpy(parents["sa_init"].matrix("token_embeddings", C.EMBEDDING).astype(np.float32))
    if continued:
        base_rows = base_sid_rows(parents, language_model, start, space, prepared.n_text)[: space.n_tokens]
        first_used = first_used_tokens(parents)
        sid_rows[~first_used] = base_rows[~first_used]
        out.count(n_tokens_first_used=int(first_used.sum()))
    model, log = fit(config, prepared, language_model, sid_rows, out)
    prompts = [torch.from_numpy(example.input_ids[:_PROMPT_TOKENS]) for example in examples.sample()]
    write_trained(model, tokenizer, log, prompts, config, out)
