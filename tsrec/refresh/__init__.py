"""New data without starting over: the pipeline's own plan, with the champion's artifacts as bases, and a judgement."""

from tsrec.refresh.refresh_run import RefreshOutcome, RefreshPlan, judge_refresh, plan_refresh, run

__all__ = ["RefreshOutcome", "RefreshPlan", "judge_refresh", "plan_refresh", "run"]
