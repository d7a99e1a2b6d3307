"""The tables of an ablation as Markdown that can be pasted: figures, differences from the reference, cost, failures."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from tsrec.ablation.ablation_plan import AblationPlan, AblationRun
from tsrec.ablation.statistics import (
    DATASET,
    DIFFERENCE,
    MEAN,
    N_PAIRED,
    N_SEEDS,
    N_USERS,
    RELATIVE,
    STD,
    VARIANT,
)
from tsrec.columns import FUSED, LLM
from tsrec.columns import Columns as C
from tsrec.evaluate.intervals import CONFIDENCE, N_SAMPLES
from tsrec.evaluate.summary import TOO_FEW, has_interval

_FEWER_SEEDS_MARK = " †"
_TITLES = {LLM: "The LLM alone", FUSED: "Fused with the other members"}


def as_markdown(
    plan: AblationPlan,
    comparison: pd.DataFrame,
    worth: pd.DataFrame,
    runs: pd.DataFrame,
    failures: Mapping[AblationRun, str],
) -> str:
    """The whole page.

    Args:
        plan: what was asked for.
        comparison: of `comparison_table`.
        worth: of `worth_table`.
        runs: of `runs_table`.
        failures: why runs have no figures.
    """
    ablation = plan.ablation
    lines = [f"# {ablation.name}", "", *_introduction(plan, comparison), ""]
    for method in plan.methods:
        method_rows = comparison[comparison[C.METHOD] == method]
        cut_offs = {dataset: sorted(config.evaluate.k) for dataset, config in plan.configs.items()}
        lines += [f"## {_TITLES[method]}", "", *_table(plan, method_rows, _figure, cut_offs), ""]
        largest = {dataset: ks[-1:] for dataset, ks in cut_offs.items()}
        if len(ablation.variants) > 1 and len(method_rows):
            lines += [f"Against {ablation.reference}:", "", *_table(plan, method_rows, _difference, largest), ""]
    if len(worth):
        lines += ["## What the LLM adds to the fusion", "", *_worth(plan, worth), ""]
    lines += ["## What differs", "", *_settings(plan), ""]
    lines += ["## Minutes of training", "", *_cost(plan, runs), ""]
    if failures:
        lines += ["## Failed", "", *(f"- {run.label}: {' '.join(why.split())}" for run, why in failures.items()), ""]
    for twin, run in plan.identical_runs():
        lines.append(f"{run.label} is the same model as {twin.variant}: its settings change nothing there.")
    return "\n".join(lines).rstrip() + "\n"


def _introduction(plan: AblationPlan, comparison: pd.DataFrame) -> Iterator[str]:
    seeds = ", ".join(map(str, plan.ablation.seeds))
    if len(plan.ablation.seeds) > 1:
        yield f"Mean over the seeds {seeds}, ± their standard deviation; the best of each column is bold."
    else:
        yield f"Seed {seeds}, so without a spread over seeds; the best of each column is bold."
    for dataset in plan.configs:
        rows = comparison[comparison[DATASET] == dataset]
        if len(rows):
            yield (
                f"{dataset}: {rows[C.N].max():,} {plan.ablation.split} targets of {rows[N_USERS].max():,} users; "
                f"differences with {CONFIDENCE:.0%} intervals over users, who were resampled in pairs "
                f"{N_SAMPLES:,} times, seeds averaged."
            )


Cell = Callable[[pd.Series, pd.DataFrame, AblationPlan], str]


def _table(
    plan: AblationPlan, comparison: pd.DataFrame, cell: Cell, cut_offs: Mapping[str, Sequence[int]]
) -> list[str]:
    """Rows variants, columns data sets x cut-offs x (HR, NDCG)."""
    columns = [(dataset, metric, k) for dataset in plan.configs for k in cut_offs[dataset] for metric in ("hr", "ndcg")]
    several = len(plan.configs) > 1
    head = ["variant", *(f"{f'{dataset} ' if several else ''}{metric.upper()}@{k}" for dataset, metric, k in columns)]
    rows = []
    indexed = comparison.set_index([DATASET, VARIANT, C.METRIC, C.K])
    for variant in plan.ablation.variants:
        is_reference = variant.name == plan.ablation.reference
        if is_reference and cell is _difference:
            continue
        row = [f"{variant.name} (reference)" if is_reference and len(plan.ablation.variants) > 1 else variant.name]
        for dataset, metric, k in columns:
            place = (dataset, variant.name, metric, k)
            column_rows = comparison[
                (comparison[DATASET] == dataset) & (comparison[C.METRIC] == metric) & (comparison[C.K] == k)
            ]
            row.append(cell(indexed.loc[place], column_rows, plan) if place in indexed.index else "failed")
        rows.append(row)
    return _lines(head, rows)


def _figure(row: pd.Series, column_rows: pd.DataFrame, plan: AblationPlan) -> str:
    text = _number(row[MEAN])
    if row[MEAN] == column_rows[MEAN].max() and len(column_rows) > 1:
        text = f"**{text}**"
    if not np.isnan(row[STD]):
        text += f" ± {_number(row[STD])}"
    return text + (_FEWER_SEEDS_MARK if row[N_SEEDS] < len(plan.ablation.seeds) else "")


def _worth(plan: AblationPlan, worth: pd.DataFrame) -> list[str]:
    """A row a data set and variant, at the largest cut-off of each data set."""
    rows = []
    for (dataset, variant), group in worth.groupby([DATASET, VARIANT], sort=False):
        largest = group[group[C.K] == group[C.K].max()].set_index(C.METRIC)
        hr, ndcg = (largest.loc[metric] for metric in ("hr", "ndcg"))
        figures = f"{_number(hr[MEAN])} / {_number(ndcg[MEAN])}"
        rows.append([str(dataset), str(variant), figures, _difference(hr, group, plan), _difference(ndcg, group, plan)])
    return _lines(["data set", "variant", "fused without it, HR / NDCG", "it adds, HR", "it adds, NDCG"], rows)


def _difference(row: pd.Series, column_rows: pd.DataFrame, plan: AblationPlan) -> str:
    if pd.isna(row[N_PAIRED]):
        return "no seed in common"
    share = "" if np.isnan(row[RELATIVE]) else f", {row[RELATIVE]:+.1%}"
    fewer = _FEWER_SEEDS_MARK if row[N_PAIRED] < len(plan.ablation.seeds) else ""
    return f"{_number(row[DIFFERENCE], sign='+')} {_proof(row)}{share}{fewer}"


def _proof(row: pd.Series) -> str:
    """The interval and p of a difference."""
    if not has_interval(row[C.P]):
        return f"({TOO_FEW})"
    p = "p < .01" if row[C.P] < 0.01 else f"p = {_number(row[C.P], 2)}"
    return f"[{_number(row[C.CI_LOW], sign='+')}, {_number(row[C.CI_HIGH], sign='+')}], {p}"


def _settings(plan: AblationPlan) -> Iterator[str]:
    for variant in plan.ablation.variants:
        yield f"- {variant.name}: {', '.join(f'`{setting}`' for setting in variant.set) or 'nothing'}"
    yield f"- the seed is that of {', '.join(f'`{field}`' for field in plan.ablation.seeded)}"


def _cost(plan: AblationPlan, runs: pd.DataFrame) -> list[str]:
    """Mean minutes of fine-tuning over the seeds, by variant and data set; of what was found, when it was built."""
    by_run = runs.dropna(subset=["seconds"]).drop_duplicates([DATASET, VARIANT, "seed"])
    minutes = by_run.groupby([DATASET, VARIANT])["seconds"].mean() / 60
    rows = [
        [v.name, *(f"{minutes[d, v.name]:.1f}" if (d, v.name) in minutes.index else "failed" for d in plan.configs)]
        for v in plan.ablation.variants
    ]
    return _lines(["variant", *plan.configs], rows)


def _lines(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _number(value: float, digits: int = 4, sign: str = "") -> str:
    """.1302 as papers write shares, without the leading nought."""
    return f"{value:{sign}.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.{digits}f}"
