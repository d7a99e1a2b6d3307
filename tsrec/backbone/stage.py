"""The backbone stage: read a pretrained LLM once, cut it, and keep it as a plain model folder for all data sets."""

import logging
from collections.abc import Mapping

from tsrec.backbone.loading import load_backbone
from tsrec.backbone.requirements import check_backbone
from tsrec.config import BackboneConfig
from tsrec.sid.tokens import without_sid_tokens
from tsrec.store import Artifact, ArtifactWriter

logger = logging.getLogger(__name__)


def run(config: BackboneConfig, parents: Mapping[str, Artifact], out: ArtifactWriter) -> None:
    """Write `model/`: safetensors, configuration and tokenizer, which `AutoModelForCausalLM` loads as they are.

    Of a model that was trained on another catalogue, the SID tokens are left out: what they mean is that catalogue's.
    """
    model, whole_tokenizer, n_total = load_backbone(config.model, config.n_layers)
    tokenizer = without_sid_tokens(whole_tokenizer)
    if n_sid_tokens := len(whole_tokenizer) - len(tokenizer):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        logger.info("%s was trained on another catalogue: its %d SID tokens are left out", config.model, n_sid_tokens)
    check_backbone(model, tokenizer, config.model)
    folder = out.directory("model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    out.count(
        n_layers=model.config.num_hidden_layers,
        n_layers_dropped=n_total - model.config.num_hidden_layers,
        n_parameters=n_parameters,
        n_vocabulary=len(tokenizer),
        n_sid_tokens_dropped=n_sid_tokens,
        dtype=str(model.dtype).removeprefix("torch."),
    )
    logger.info(
        "%s: kept %d layers, %.1f M parameters", config.model, model.config.num_hidden_layers, n_parameters / 1e6
    )
