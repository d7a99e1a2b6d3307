"""Ablations: variants of a configuration over data sets and seeds, compared on the same targets.

Works on plans of the pipeline and on the store; trains, decodes and ranks nothing itself.
"""

from tsrec.ablation.planning import Plan, plan_ablation
from tsrec.ablation.results import Results, write_results
from tsrec.ablation.running import Built, build_ablation

__all__ = ["Built", "Plan", "Results", "build_ablation", "plan_ablation", "write_results"]
