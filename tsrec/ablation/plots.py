"""The pictures of an ablation, as PNG bytes: an axis a data set, a row or a colour a variant."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tsrec.ablation.ablation_plan import AblationPlan
from tsrec.ablation.statistics import DATASET, DIFFERENCE, MEAN, SEED, STD, VARIANT
from tsrec.columns import Columns as C
from tsrec.report.figure_style import LINES, OTHERS, OURS, new_figure, png


def figures_plot(plan: AblationPlan, comparison: pd.DataFrame, runs: pd.DataFrame, method: str) -> bytes:
    """NDCG at the largest cut-off: a dot a seed, the mean with its standard deviation, a line at the reference."""
    names = [variant.name for variant in plan.ablation.variants][::-1]
    figure, all_axes = new_figure(1.6 + 3.4 * len(plan.configs), 0.8 + 0.36 * len(names), len(plan.configs))
    for number, (axes, dataset) in enumerate(zip(all_axes, plan.configs, strict=True)):
        means, k = _largest_k_rows(comparison, dataset, method)
        dots, _ = _largest_k_rows(runs, dataset, method)
        dots = dots[dots[VARIANT].isin(names)]
        axes.scatter(dots[C.VALUE], [names.index(name) for name in dots[VARIANT]], s=9, color=OTHERS, zorder=2)
        for row in means.to_dict("records"):
            is_reference = row[VARIANT] == plan.ablation.reference
            if is_reference:
                axes.axvline(row[MEAN], color=OURS, lw=0.8, ls=":", zorder=1)
            spread = row[STD] if pd.notna(row[STD]) else 0
            color = OURS if is_reference else "#334155"
            axes.errorbar(row[MEAN], names.index(row[VARIANT]), xerr=spread, fmt="o", ms=4, color=color, zorder=3)
        _name_rows(axes, names, shown=number == 0)
        axes.set_xlabel(f"{dataset}: {method}, NDCG@{k}, {plan.ablation.split}")
    return png(figure)


def differences_plot(plan: AblationPlan, comparison: pd.DataFrame, method: str) -> bytes:
    """How far each variant is ahead of the reference in NDCG at the largest cut-off, with its interval over users."""
    names = [variant.name for variant in plan.ablation.variants if variant.name != plan.ablation.reference][::-1]
    figure, all_axes = new_figure(1.6 + 3.4 * len(plan.configs), 0.8 + 0.36 * len(names), len(plan.configs))
    for number, (axes, dataset) in enumerate(zip(all_axes, plan.configs, strict=True)):
        rows, k = _largest_k_rows(comparison, dataset, method)
        axes.axvline(0, color=OTHERS, lw=1)
        for row in rows[rows[DIFFERENCE].notna()].to_dict("records"):
            bounds = [[max(row[DIFFERENCE] - row[C.CI_LOW], 0)], [max(row[C.CI_HIGH] - row[DIFFERENCE], 0)]]
            axes.errorbar(row[DIFFERENCE], names.index(row[VARIANT]), xerr=bounds, fmt="o", ms=4, color=OURS)
        _name_rows(axes, names, shown=number == 0)
        axes.set_xlabel(f"{dataset}: {method}, NDCG@{k} ahead of {plan.ablation.reference}")
    return png(figure)


def curves_plot(plan: AblationPlan, curves: pd.DataFrame) -> bytes:
    """Loss on valid by step, a line a run, a colour a variant."""
    figure, all_axes = new_figure(4.6 * len(plan.configs), 3.2, len(plan.configs))
    for axes, dataset in zip(all_axes, plan.configs, strict=True):
        for number, variant in enumerate(plan.ablation.variants):
            valid_loss = curves[(curves[DATASET] == dataset) & (curves[VARIANT] == variant.name)]
            valid_loss = valid_loss[(valid_loss[C.SPLIT] == "valid") & valid_loss["loss_per_item"].notna()]
            for place, (_, run) in enumerate(valid_loss.groupby(SEED)):
                label = variant.name if place == 0 else None
                axes.plot(run["step"], run["loss_per_item"], color=LINES[number % len(LINES)], lw=1.1, label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(f"{dataset}: step")
        axes.set_ylabel("loss on valid (nats per item)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7, frameon=False)
    return png(figure)


def _largest_k_rows(table: pd.DataFrame, dataset: str, method: str) -> tuple[pd.DataFrame, int]:
    """The NDCG rows of one data set and method at its largest cut-off, and that."""
    rows = table[(table[DATASET] == dataset) & (table[C.METHOD] == method) & (table[C.METRIC] == "ndcg")]
    largest = int(rows[C.K].max()) if len(rows) else 0
    return rows[rows[C.K] == largest], largest


def _name_rows(axes: Axes, names: list[str], *, shown: bool) -> None:
    axes.set_yticks(range(len(names)), names if shown else [""] * len(names))
    axes.set_ylim(-0.6, len(names) - 0.4)
