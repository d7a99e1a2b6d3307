"""The baselines stage: methods that an LLM has to beat, and a registry of them."""

from tsrec.baselines.scorer import Baseline, FitInputs, Scorer
from tsrec.baselines.stage import BASELINES, STAGE

__all__ = ["BASELINES", "STAGE", "Baseline", "FitInputs", "Scorer"]
