"""The export of a trained `SidModel`, read back and compared: what decoding reads must be what training made."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from tsrec.config import FinetuneSettings
from tsrec.errors import TrainingError
from tsrec.finetune.model import SidModel
from tsrec.machine.devices import resolve_device, resolve_precision
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import first_sid_id
from tsrec.store import ArtifactWriter

_TOLERANCE = 1e-3  # of the largest logit; float32 on a CPU, LoRA merged


def write_trained(
    model: SidModel,
    tokenizer: PreTrainedTokenizerBase,
    log: pd.DataFrame,
    prompts: Sequence[Tensor],
    config: FinetuneSettings,
    out: ArtifactWriter,
    section: str = "finetune",
) -> None:
    """Write `model/` and `training_log`, and count device, precision and how far the export is from `model`.

    Args:
        model: as it was trained, on the processor.
        tokenizer: with the SID tokens.
        log: of the training.
        prompts: token ids, (T,) each, that both are compared on.
        config: how it was trained.
        out: the stage's artifact.
        section: the one of the configuration that set the rates, for messages.

    Raises:
        TrainingError, ArtifactError: as `check_export`.
    """
    logits = [model.logits(prompt) for prompt in prompts]
    folder = out.directory("model")
    model.export(folder, tokenizer)
    difference = check_export(folder, prompts, logits, model.space, section)
    out.write_table("training_log", log)
    device = resolve_device(config.device)
    out.count(
        precision=str(resolve_precision(config.precision, device)).removeprefix("torch."),
        device=str(device),
        export_difference=difference,
    )


def check_export(
    folder: Path, prompts: Sequence[Tensor], trained: Sequence[Tensor], space: SidSpace, section: str = "finetune"
) -> float:
    """Read the model in `folder` as decoding will, and compare its logits.

    Args:
        folder: the exported model and its tokenizer.
        prompts: token ids, (T,) each.
        trained: for each prompt, the logits (T, n_text + n_sid) of the model that was trained.
        space: the codes of every level.
        section: see `write_trained`.

    Returns:
        the largest difference, as a share of the largest logit.

    Raises:
        TrainingError: the logits differ, or are not finite.
        ArtifactError: the tokenizer numbers the SID tokens otherwise.
    """
    first_sid_id(AutoTokenizer.from_pretrained(folder, trust_remote_code=False), space, folder)
    model = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    worst = 0.0
    for ids, expected in zip(prompts, trained, strict=True):
        with torch.inference_mode():
            found = model(input_ids=ids[None], use_cache=False).logits[0]
        if not torch.isfinite(expected).all() or not torch.isfinite(found).all():
            raise TrainingError(f"the trained model gives logits that are no numbers; lower {section}.learning_rate")
        worst = max(worst, float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0)))
    if worst > _TOLERANCE:
        raise TrainingError(
            f"the exported {type(model).__name__} computes other logits than the model that was trained (they differ "
            f"by {worst:.2%}), so its recommendations would not be what it learned; choose another backbone.model"
        )
    return worst
