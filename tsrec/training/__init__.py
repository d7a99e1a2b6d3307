"""Training shared by the LLM and the SASRec baseline: mixing, packing, and a Trainer that resumes to the same bytes."""

from tsrec.machine.devices import resolve_device, resolve_precision
from tsrec.training.losses import chunked_cross_entropy
from tsrec.training.mixture import Mixture, Varying
from tsrec.training.packing import IGNORED, SAME_PLACE, Example, Examples, pack, packed_attention_mask
from tsrec.training.trainer import Recipe, train

__all__ = [
    "IGNORED",
    "SAME_PLACE",
    "Example",
    "Examples",
    "Mixture",
    "Recipe",
    "Varying",
    "chunked_cross_entropy",
    "pack",
    "packed_attention_mask",
    "resolve_device",
    "resolve_precision",
    "train",
]
