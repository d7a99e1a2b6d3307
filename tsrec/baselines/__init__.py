"""The baselines stage: methods that an LLM has to beat, and a registry of them."""

from tsrec.baselines.stage import STAGE

__all__ = ["STAGE"]
