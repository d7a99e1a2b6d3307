"""Training shared by the LLM and the SASRec baseline: mixing, packing, and a Trainer that resumes to the same bytes."""

from tsrec.devices import resolve_device, resolve_precision
from tsrec.training.mixture import Mixture
from tsrec.training.packing import IGNORED, Example, Examples, pack, packed_attention_mask
from tsrec.training.trainer import Recipe, train

__all__ = [
    "IGNORED",
    "Example",
    "Examples",
    "Mixture",
    "Recipe",
    "pack",
    "packed_attention_mask",
    "resolve_device",
    "resolve_precision",
    "train",
]
