"""The backbone stage: the first layers of a pretrained causal LM, as a plain Hugging Face model folder."""

from tsrec.backbone.stage import STAGE

__all__ = ["STAGE"]
