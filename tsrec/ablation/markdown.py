"""The tables of an ablation as Markdown that can be pasted: figures, differences from the reference, cost, failures."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from tsrec.ablation.comparing import (
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
from tsrec.ablation.planning import Plan, Run
from tsrec.columns import FUSED, LLM
from tsrec.columns import Columns as C
from tsrec.evaluate.intervals import CONFIDENCE, N_SAMPLES
from tsrec.evaluate.summary import TOO_FEW, has_interval

_FEWER = " †"
_TITLES = {LLM: "The LLM alone", FUSED: "Fused with the other members"}


def as_markdown(
    plan: Plan, comparison: pd.DataFrame, worth: pd.DataFrame, runs: pd.DataFrame, failures: Mapping[Run, str]
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
        mine = comparison[comparison[C.METHOD] == method]
        cut_offs = {dataset: sorted(config.evaluate.k) for dataset, config in plan.configs.items()}
        lines += [f"## {_TITLES[method]}", "", *_table(plan, mine, _figure, cut_offs), ""]
        largest = {dataset: few[-1:] for dataset, few in cut_offs.items()}
        if len(ablation.variants) > 1 and len(mine):
            lines += [f"Against {ablation.reference}:", "", *_table(plan, mine, _difference, largest), ""]
    if len(worth):
        lines += ["## What the LLM adds to the fusion", "", *_worth(plan, worth), ""]
    lines += ["## What differs", "", *_settings(plan), ""]
    lines += ["## Minutes of training", "", *_cost(plan, runs), ""]
    if failures:
        lines += ["## Failed", "", *(f"- {run.words}: {_one_line(why)}" for run, why in failures.items()), ""]
    for twin, run in plan.twins():
        lines.append(f"{run.words} is the same model as {twin.variant}: its settings change nothing there.")
    return "\n".join(lines).rstrip() + "\n"


def _introduction(plan: Plan, comparison: pd.DataFrame) -> Iterator[str]:
    seeds = ", ".join(map(str, plan.ablation.seeds))
    if len(plan.ablation.seeds) > 1:
        yield f"Mean over the seeds {seeds}, ± their standard deviation; the best of each column is bold."
    else:
        yield f"Seed {seeds}, so without a spread over seeds; the best of each column is bold."
    for dataset in plan.configs:
        mine = comparison[comparison[DATASET] == dataset]
        if len(mine):
            yield (
                f"{dataset}: {mine[C.N].max():,} {plan.ablation.split} targets of {mine[N_USERS].max():,} users; "
                f"differences with {CONFIDENCE:.0%} intervals over users, who were resampled in pairs "
                f"{N_SAMPLES:,} times, seeds averaged."
            )


Cell = Callable[[pd.Series, pd.DataFrame, Plan], str]


def _table(plan: Plan, comparison: pd.DataFrame, cell: Cell, cut_offs: Mapping[str, Sequence[int]]) -> list[str]:
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
            of_column = comparison[
                (comparison[DATASET] == dataset) & (comparison[C.METRIC] == metric) & (comparison[C.K] == k)
            ]
            row.append(cell(indexed.loc[place], of_column, plan) if place in indexed.index else "failed")
        rows.append(row)
    return _lines(head, rows)


def _figure(row: pd.Series, of_column: pd.DataFrame, plan: Plan) -> str:
    text = _number(row[MEAN])
    if row[MEAN] == of_column[MEAN].max() and len(of_column) > 1:
        text = f"**{text}**"
    if not np.isnan(row[STD]):
        text += f" ± {_number(row[STD])}"
    return text + (_FEWER if row[N_SEEDS] < len(plan.ablation.seeds) else "")


def _worth(plan: Plan, worth: pd.DataFrame) -> list[str]:
    """A row a data set and variant, at the largest cut-off of each data set."""
    rows = []
    for (dataset, variant), mine in worth.groupby([DATASET, VARIANT], sort=False):
        largest = mine[mine[C.K] == mine[C.K].max()].set_index(C.METRIC)
        hr, ndcg = (largest.loc[metric] for metric in ("hr", "ndcg"))
        figures = f"{_number(hr[MEAN])} / {_number(ndcg[MEAN])}"
        rows.append([str(dataset), str(variant), figures, _difference(hr, mine, plan), _difference(ndcg, mine, plan)])
    return _lines(["data set", "variant", "fused without it, HR / NDCG", "it adds, HR", "it adds, NDCG"], rows)


def _difference(row: pd.Series, of_column: pd.DataFrame, plan: Plan) -> str:
    if pd.isna(row[N_PAIRED]):
        return "no seed in common"
    share = "" if np.isnan(row[RELATIVE]) else f", {row[RELATIVE]:+.1%}"
    fewer = _FEWER if row[N_PAIRED] < len(plan.ablation.seeds) else ""
    return f"{_number(row[DIFFERENCE], sign='+')} {_proof(row)}{share}{fewer}"


def _proof(row: pd.Series) -> str:
    """The interval and p of a difference."""
    if not has_interval(row[C.P]):
        return f"({TOO_FEW})"
    p = "p < .01" if row[C.P] < 0.01 else f"p = {_number(row[C.P], 2)}"
    return f"[{_number(row[C.CI_LOW], sign='+')}, {_number(row[C.CI_HIGH], sign='+')}], {p}"


def _settings(plan: Plan) -> Iterator[str]:
    for variant in plan.ablation.variants:
        yield f"- {variant.name}: {', '.join(f'`{setting}`' for setting in variant.set) or 'nothing'}"
    yield f"- the seed is that of {', '.join(f'`{field}`' for field in plan.ablation.seeded)}"


def _cost(plan: Plan, runs: pd.DataFrame) -> list[str]:
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


def _one_line(text: str) -> str:
    return " ".join(text.split())
