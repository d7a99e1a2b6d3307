"""The statistics of an ablation: mean and spread over seeds, and paired differences from the reference.

**Which seeds.** A variant and the reference are compared on the seeds that both finished, on the same targets.

**Seeds are averaged, users are resampled.** For every target the metric of a variant is averaged over the seeds, that
of the reference too, and the difference of the two is the target's. Users are then drawn with replacement, all targets
of a user together (Efron 1979; `evaluate/intervals.py`). So the interval is about the question "is the expected model
of this variant better for such users", and because both models saw the same users, what is easy or hard about a user
cancels. Averaging equals pooling the seeds' rows as long as a user's rows of all seeds come and go together; pooling
them as if every seed had users of its own would count each user several times, and give intervals that are too narrow
by up to the root of the number of seeds.

What the interval does not hold is the chance of the seeds themselves: it is conditional on those that were trained.
Two or three of them cannot be resampled to any purpose, so their sample standard deviation stands beside it, and a
difference smaller than that is to be read with it in mind.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tsrec.ablation.ablation_plan import AblationPlan, AblationRun
from tsrec.ablation.run_metrics import RunMetrics
from tsrec.columns import FUSED
from tsrec.columns import Columns as C
from tsrec.evaluate.intervals import bootstrap_means, interval, p_value

DATASET, VARIANT, SEED = "dataset", "variant", "seed"
MEAN, STD, N_SEEDS, N_USERS = "mean", "std", "n_seeds", "n_users"
DIFFERENCE, RELATIVE, N_PAIRED = "difference", "relative", "n_paired_seeds"


def runs_table(
    plan: AblationPlan, measured: Mapping[AblationRun, RunMetrics], failures: Mapping[AblationRun, str]
) -> pd.DataFrame:
    """Every run's own figures.

    Columns dataset, variant, seed, method, metric, k, value, n (targets), seconds (of training), model (the
    fingerprint of the artifact that holds its LLM), failure; a failed run is one row with its failure alone.
    """
    rows: list[dict[str, Any]] = []
    for run in plan.runs:
        run_columns = {DATASET: run.dataset, VARIANT: run.variant, SEED: run.seed}
        if run in failures:
            rows.append({**run_columns, "failure": failures[run]})
            continue
        metrics = measured[run]
        for method, values in metrics.values.items():
            for (metric, k), value in zip(metrics.names, values.mean(axis=0), strict=True):
                figures = {C.METHOD: method, C.METRIC: metric, C.K: k, C.VALUE: float(value), C.N: len(values)}
                rows.append({**run_columns, **figures, "seconds": metrics.seconds, "model": metrics.model})
    columns = [DATASET, VARIANT, SEED, C.METHOD, C.METRIC, C.K, C.VALUE, C.N, "seconds", "model", "failure"]
    return pd.DataFrame(rows, columns=columns).astype({C.K: "Int64", C.N: "Int64"})


def comparison_table(plan: AblationPlan, measured: Mapping[AblationRun, RunMetrics]) -> pd.DataFrame:
    """One row a data set, variant, method, metric and cut-off; variants without a finished run have none.

    Columns dataset, variant, method, metric, k, mean, std (over seeds, n - 1 in the denominator; missing for one seed),
    n_seeds, n (targets), n_users; and against the reference: difference (of the means over the seeds that both
    finished), relative (that, as a share of the reference), ci_low, ci_high, p (two-sided), n_paired_seeds; missing for
    the reference itself and where no seed is common; ci_low, ci_high and p also with fewer than
    `intervals.MIN_USERS` users.
    """
    rows: list[dict[str, Any]] = []
    for dataset in plan.configs:
        for method in plan.methods:
            by_variant: dict[str, dict[int, RunMetrics]] = {}
            for run, metrics in measured.items():
                if run.dataset == dataset:
                    by_variant.setdefault(run.variant, {})[run.seed] = metrics
            reference = by_variant.get(plan.ablation.reference, {})
            for variant in (v.name for v in plan.ablation.variants if v.name in by_variant):
                runs, row_columns = by_variant[variant], {DATASET: dataset, VARIANT: variant, C.METHOD: method}
                seeds = sorted(runs.keys() & reference.keys()) if variant != plan.ablation.reference else []
                pairs = [(runs[seed].values[method], reference[seed].values[method]) for seed in seeds]
                differences = _paired(pairs, runs[seeds[0]]) if pairs else {}
                rows += [
                    {**row_columns, **row, **differences.get((row[C.METRIC], row[C.K]), {})}
                    for row in _means(list(runs.values()), method)
                ]
    columns = [DATASET, VARIANT, C.METHOD, C.METRIC, C.K, MEAN, STD, N_SEEDS, C.N, N_USERS]
    columns += [DIFFERENCE, RELATIVE, C.CI_LOW, C.CI_HIGH, C.P, N_PAIRED]
    return pd.DataFrame(rows, columns=columns).astype({N_PAIRED: "Int64"})


def worth_table(plan: AblationPlan, measured: Mapping[AblationRun, RunMetrics]) -> pd.DataFrame:
    """What the LLM adds to the fusion: the fusion against the one of all members but LLMs, of the same seeds.

    One row a data set, variant, metric and cut-off for which the fusion was fitted without the LLM, which is where
    `fused: true` and `split: test`. Columns dataset, variant, metric, k, mean (of the fusion without the LLM), and
    difference, relative, ci_low, ci_high, p, n_paired_seeds as in `comparison_table`.
    """
    rows: list[dict[str, Any]] = []
    for dataset in plan.configs:
        for variant in (v.name for v in plan.ablation.variants):
            runs = [metrics for run, metrics in measured.items() if (run.dataset, run.variant) == (dataset, variant)]
            pairs = [(run.values[FUSED], run.without_llm) for run in runs if run.without_llm is not None]
            if not pairs:
                continue
            base = np.mean([without for _, without in pairs], axis=(0, 1))  # (M,)
            for mean, ((metric, k), row) in zip(base, _paired(pairs, runs[0]).items(), strict=True):
                rows.append({DATASET: dataset, VARIANT: variant, C.METRIC: metric, C.K: k, MEAN: float(mean), **row})
    columns = [DATASET, VARIANT, C.METRIC, C.K, MEAN, DIFFERENCE, RELATIVE, C.CI_LOW, C.CI_HIGH, C.P, N_PAIRED]
    return pd.DataFrame(rows, columns=columns)


def _means(runs: Sequence[RunMetrics], method: str) -> list[dict[str, Any]]:
    """Mean and spread over the seeds of one variant."""
    by_seed = np.stack([run.values[method].mean(axis=0) for run in runs])  # (S, M)
    spread = by_seed.std(axis=0, ddof=1) if len(runs) > 1 else np.full(by_seed.shape[1], np.nan)
    first = runs[0]
    return [
        {
            C.METRIC: metric,
            C.K: k,
            MEAN: float(by_seed[:, i].mean()),
            STD: float(spread[i]),
            N_SEEDS: len(runs),
            C.N: len(first.users),
            N_USERS: len(np.unique(first.users)),
        }
        for i, (metric, k) in enumerate(first.names)
    ]


def _paired(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], targets: RunMetrics
) -> dict[tuple[str, int], dict[str, Any]]:
    """(metric, k) -> how far the first of each pair of (T, M) figures is ahead of the second; a pair a seed."""
    variant, reference = (np.mean(values, axis=0) for values in zip(*pairs, strict=True))  # (T, M)
    resampled = bootstrap_means(variant - reference, targets.users)
    low, high = interval(resampled)
    p = p_value(resampled)
    differences, base = (variant - reference).mean(axis=0), reference.mean(axis=0)
    return {
        name: {
            DIFFERENCE: float(differences[i]),
            RELATIVE: float(differences[i] / base[i]) if base[i] else np.nan,
            C.CI_LOW: float(low[i]),
            C.CI_HIGH: float(high[i]),
            C.P: float(p[i]),
            N_PAIRED: len(pairs),
        }
        for i, name in enumerate(targets.names)
    }
