"""What a stage that trains the LLM leaves: the model as decoding reads it, compared with the one that was trained."""

from collections.abc import Sequence

import pandas as pd
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tsrec.config import FinetuneSettings
from tsrec.finetune.export_check import check_export
from tsrec.finetune.model import SidModel
from tsrec.machine.devices import resolve_device, resolve_precision
from tsrec.store import ArtifactWriter


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
        prompts: token ids, (T,) each, that both are compared on.
        config: how it was trained; `section` is the one of the configuration that set the rates.

    Raises:
        TrainingError, ArtifactError: as `check_export`.
    """
    logits = [model.logits(prompt) for prompt in prompts]
    model.export(out.directory("model"), tokenizer)
    difference = check_export(out.directory("model"), prompts, logits, model.space, section)
    out.write_table("training_log", log)
    device = resolve_device(config.device)
    out.count(
        precision=str(resolve_precision(config.precision, device)).removeprefix("torch."),
        device=str(device),
        export_difference=difference,
    )
