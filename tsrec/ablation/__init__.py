"""Ablations: variants of a configuration over data sets and seeds, compared on the same targets.

Works on plans of the pipeline and on the store; trains, decodes and ranks nothing itself.
"""

from tsrec.ablation.ablation_plan import AblationPlan, plan_ablation
from tsrec.ablation.results import AblationResults, write_results
from tsrec.ablation.running import BuiltAblation, build_ablation

__all__ = ["AblationPlan", "AblationResults", "BuiltAblation", "build_ablation", "plan_ablation", "write_results"]
