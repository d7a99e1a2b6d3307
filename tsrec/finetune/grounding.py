"""The grounding stage: the rows of SID tokens learn from paired text, the LLM frozen, before fine-tuning.

GTI (arXiv 2604.02324): rows that start alike, or at random, are first pulled to where the pretrained LLM understands
them, and only then does the LLM change. It takes the rows of `sa_init`, whatever made them, and hands on others.
"""

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForCausalLM

from tsrec.columns import Columns as C
from tsrec.config import FinetuneConfig
from tsrec.finetune.preparing import fit, prepare
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter, base_role


def run(config: FinetuneConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `token_embeddings`, as `sa_init` does, and `training_log`.

    With a base nothing is trained: fine-tuning goes on from rows that are, and needs first ones only for tokens that
    are used for the first time, which start as `sa_init` says.
    """
    table = parents["sa_init"].table("token_embeddings")
    before = parents["sa_init"].matrix("token_embeddings", C.EMBEDDING).astype(np.float32)  # (n_tokens, D)
    if base_role("grounding") in parents:
        out.write_table("token_embeddings", table)
        out.count(n_steps=0)
        return
    torch.manual_seed(config.seed)
    prepared = prepare(config, parents, out)
    language_model = AutoModelForCausalLM.from_pretrained(
        parents["backbone"].file("model"), trust_remote_code=False, dtype=torch.float32, attn_implementation="sdpa"
    )
    model, log = fit(config, prepared, language_model, torch.from_numpy(before), out, "grounding")
    rows = model.sid_rows.detach().numpy()
    column = pa.array(list(rows), pa.list_(pa.float32()))
    place = table.schema.get_field_index(C.EMBEDDING)
    out.write_table("token_embeddings", table.set_column(place, C.EMBEDDING, column))
    out.write_table("training_log", log)
    out.count(
        n_steps=int(log["step"].max()),
        mean_norm_before=round(float(np.linalg.norm(before, axis=1).mean()), 6),
        mean_norm=round(float(np.linalg.norm(rows, axis=1).mean()), 6),
    )
