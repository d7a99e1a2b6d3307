"""Tables and sentences for people: metrics by method, what each member adds, and a headline about the LLM."""

import math

import pandas as pd

from tsrec.columns import ALL, FUSED, LLM, LLMS
from tsrec.columns import Columns as C

TOO_FEW = "too few users to tell"
"""In place of an interval and a p, where there are fewer than `intervals.MIN_USERS`."""
_ABLATED = f"{FUSED} without "


def has_interval(bound: float) -> bool:
    """Whether a bound, or a p, is known: it is missing where there were too few users."""
    return not math.isnan(bound)


def with_interval(value: float, low: float, high: float) -> str:
    """A difference and its interval as text."""
    return f"{value:+.4f} " + (f"[{low:+.4f}, {high:+.4f}]" if has_interval(low) else f"({TOO_FEW})")


def is_ablation(method: str) -> bool:
    """Whether a method is the fusion without one of its members."""
    return method.startswith(_ABLATED)


def metrics_table(metrics: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """The fusion and its members: HR and NDCG of all targets at every cut-off, n, and the paired difference of the
    fusion's NDCG at the largest cut-off to each, with its interval over users.

    Rows are methods: the fusion, then the others, best NDCG at the largest cut-off first.
    """
    rows = metrics[(metrics[C.SLICE] == ALL) & metrics[C.METRIC].isin(("hr", "ndcg"))]
    rows = rows[~rows[C.METHOD].map(is_ablation)]
    rows = rows.assign(name=rows[C.METRIC].str.upper() + "@" + rows[C.K].astype(str))
    table = rows.pivot_table(index=C.METHOD, columns="name", values=C.VALUE, sort=False).round(4)
    largest = rows[C.K].max()
    table["n"] = rows.groupby(C.METHOD)[C.N].max()
    leads = _fusion_lead(differences, largest, "ndcg").set_index(C.METHOD)
    table[f"{FUSED} ahead by (NDCG@{largest})"] = [
        with_interval(*leads.loc[method, [C.VALUE, C.CI_LOW, C.CI_HIGH]]) if method in leads.index else ""
        for method in table.index
    ]
    table = table.sort_values(f"NDCG@{largest}", ascending=False)
    first = [method for method in table.index if method == FUSED]
    return table.loc[first + [method for method in table.index if method != FUSED]].rename_axis(columns=None)


def member_contributions(differences: pd.DataFrame) -> pd.DataFrame:
    """What each member adds to the fusion: columns method (the member), metric, value, ci_low, ci_high, p, at the
    largest cut-off, the most worth first. Empty where the fusion without each member was not measured."""
    largest = differences[C.K].max()
    rows = pd.concat([_fusion_lead(differences, largest, metric) for metric in ("hr", "ndcg")])
    rows = rows[rows[C.METHOD].map(is_ablation)]
    rows = rows.assign(**{C.METHOD: rows[C.METHOD].str.removeprefix(_ABLATED)})
    return rows.sort_values([C.METRIC, C.VALUE], ascending=[False, False], ignore_index=True)


def headline(differences: pd.DataFrame) -> str:
    """One sentence: what the LLM adds to the fusion, or all LLMs where there are several."""
    rows = member_contributions(differences)
    llm_rows = rows[rows[C.METHOD].isin((LLM, LLMS)) & (rows[C.METRIC] == "ndcg")].set_index(C.METHOD)
    if llm_rows.empty:
        return "What the LLM adds to the fusion was not measured on these targets."
    method, subject, adds, takes = (LLM, "The LLM", "adds to", "takes from")
    if LLMS in llm_rows.index:
        method, subject, adds, takes = (LLMS, "The LLMs together", "add to", "take from")
    row = llm_rows.loc[method]
    verb = takes if round(row[C.VALUE], 4) < 0 else adds
    gain = f"{subject} {verb} the fusion {abs(row[C.VALUE]):.4f} NDCG@{row[C.K]}"
    if not has_interval(row[C.P]):
        return f"{gain} ({TOO_FEW})."
    significance = "" if row[C.P] < 0.05 else ", not significant"
    return f"{gain} [{row[C.CI_LOW]:+.4f}, {row[C.CI_HIGH]:+.4f}], p = {row[C.P]:.3g}{significance}."


def _fusion_lead(differences: pd.DataFrame, k: int, metric: str) -> pd.DataFrame:
    """How much the fusion is ahead of each method: rows of `differences` against the fusion, with signs reversed."""
    is_selected = (differences[C.AGAINST] == FUSED) & (differences[C.METRIC] == metric) & (differences[C.K] == k)
    rows = differences[is_selected]
    return rows.assign(
        **{C.VALUE: 0 - rows[C.VALUE], C.CI_LOW: -rows[C.CI_HIGH], C.CI_HIGH: -rows[C.CI_LOW]}
    )  # 0 - x: -0.0 would be shown with a sign
