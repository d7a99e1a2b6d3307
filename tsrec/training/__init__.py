"""Training shared by the LLM and the SASRec baseline: packing, and a Trainer that resumes to the same bytes."""

from tsrec.training.packing import IGNORED, Example, pack, packed_attention_mask
from tsrec.training.trainer import Recipe, resolve_device, resolve_precision, train

__all__ = [
    "IGNORED",
    "Example",
    "Recipe",
    "pack",
    "packed_attention_mask",
    "resolve_device",
    "resolve_precision",
    "train",
]
