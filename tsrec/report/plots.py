"""The report's plots, as PNG bytes. Each function takes one table and knows nothing of the page around it."""

import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from tsrec.columns import ALL, FUSED, LLM
from tsrec.columns import Columns as C
from tsrec.evaluate.summary import TOO_FEW, is_ablation
from tsrec.report.figure_style import LINES, OTHERS, OURS, new_figure, png

_COLORS = {FUSED: OURS, LLM: "#7c3aed"}


def metrics_plot(metrics: pd.DataFrame, metric: str, k: int) -> bytes:
    """Horizontal bars of one metric at one cut-off, with confidence intervals, best method on top."""
    rows = metrics[(metrics[C.SLICE] == ALL) & (metrics[C.METRIC] == metric) & (metrics[C.K] == k)]
    rows = rows[~rows[C.METHOD].map(is_ablation)].sort_values(C.VALUE)
    figure, (axes,) = new_figure(6.4, 0.5 + 0.42 * len(rows))
    errors = np.vstack([rows[C.VALUE] - rows[C.CI_LOW], rows[C.CI_HIGH] - rows[C.VALUE]]).clip(min=0)
    colors = [_COLORS.get(method, OTHERS) for method in rows[C.METHOD]]
    axes.barh(rows[C.METHOD], rows[C.VALUE], xerr=errors, color=colors, error_kw={"ecolor": "#334155", "lw": 1})
    axes.set_xlabel(f"{metric.upper()}@{k}, {_interval_note(rows)}")
    return png(figure)


def training_plot(log: pd.DataFrame) -> bytes:
    """Loss by step: one line per task in training, dashed for valid."""
    figure, (axes,) = new_figure(6.4, 3.2)
    colors: dict[str, str] = {}
    for (split, task), rows in log.groupby([C.SPLIT, "task"], sort=True):
        color = colors.setdefault(str(task), LINES[len(colors) % len(LINES)])
        style = "--" if split == "valid" else "-"
        marker = "o" if len(rows) == 1 else ""  # a line through one point shows nothing
        axes.plot(rows["step"], rows["loss"], style, marker=marker, color=color, lw=1.4, label=f"{task} ({split})")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    axes.legend(fontsize=7, frameon=False)
    return png(figure)


def rl_plot(log: pd.DataFrame) -> bytes:
    """How RL went: reward and lists with the next item by step, and how far the LLM moved."""
    by_step = log.pivot_table(index="step", columns="task", values="loss")
    figure, (axes, right) = new_figure(6.4, 2.6, columns=2)
    for name, label, color in (("hit", "lists with the next item", LINES[0]), ("reward", "reward of a list", LINES[1])):
        axes.plot(by_step.index, by_step[name], color=color, lw=1.4, label=label)
    axes.set_ylabel("mean over lists")
    axes.legend(fontsize=7, frameon=False)
    right.plot(by_step.index, by_step["kl"], color=LINES[2], lw=1.4)
    right.set_ylabel("divergence (nats per token)")
    for each in (axes, right):
        each.set_xlabel("step of RL")
    return png(figure)


def codebook_plot(codes: np.ndarray) -> bytes:
    """Items per code, largest first, one line per level. `codes` is (N, L) integers."""
    figure, (axes,) = new_figure(6.4, 2.8)
    for level in range(codes.shape[1]):
        sizes = np.sort(np.bincount(codes[:, level]))[::-1]
        sizes = sizes[sizes > 0]
        axes.plot(np.arange(1, len(sizes) + 1), sizes, color=LINES[level % len(LINES)], label=f"level {level + 1}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("codes in use, largest first")
    axes.set_ylabel("items per code")
    axes.legend(fontsize=8, frameon=False)
    return png(figure)


def history_plot(lengths: np.ndarray, popularity: np.ndarray) -> bytes:
    """Two histograms, of how many users have each number of events, and how many items each number of train events.

    Both are given as counts: (L + 1,) and (P + 1,) int64, for the numbers from 0 on.
    """
    figure, (left, right) = new_figure(6.4, 2.4, columns=2)
    for axes, counts, label in (
        (left, lengths, "events per user"),
        (right, popularity, "train events per item"),
    ):
        top = max(_percentile_99(counts), 2)
        width = -(-top // 40)  # bars of a whole number of counts: no bar stays empty for want of an integer in it
        bins = list(np.arange(0, top + width + 1, width) - 0.5)
        axes.hist(np.minimum(np.arange(len(counts)), top), bins=bins, weights=counts, color=OURS)
        axes.set_xlabel(f"{label} (last bar: {top} or more)", fontsize=8)
    return png(figure)


def _percentile_99(counts: np.ndarray) -> int:
    """The 99th percentile, as `np.quantile` has it, of numbers of which `counts[n]` are n; rounded down."""
    place = 0.99 * (counts.sum() - 1)
    low, high = np.searchsorted(counts.cumsum(), [np.floor(place), np.ceil(place)], side="right")
    return int(low + (high - low) * (place % 1))


def slices_plot(metrics: pd.DataFrame, metric: str, k: int) -> bytes:
    """Grouped bars: every slice, the fusion beside each member."""
    rows = metrics[(metrics[C.SLICE] != ALL) & (metrics[C.METRIC] == metric) & (metrics[C.K] == k)]
    rows = rows[~rows[C.METHOD].map(is_ablation)]
    table = rows.pivot_table(index=C.SLICE, columns=C.METHOD, values=C.VALUE, sort=False)
    figure, (axes,) = new_figure(6.4, 3.0)
    width = 0.8 / max(len(table.columns), 1)
    for number, method in enumerate(table.columns):
        color = LINES[number % len(LINES)]
        axes.bar(np.arange(len(table)) + number * width, table[method], width, color=color, label=method)
    axes.set_xticks(np.arange(len(table)) + 0.4 - width / 2, list(table.index), rotation=30, ha="right", fontsize=8)
    axes.set_ylabel(f"{metric.upper()}@{k}")
    axes.legend(fontsize=7, frameon=False)
    return png(figure)


def _interval_note(rows: pd.DataFrame) -> str:
    n_targets = int(rows[C.N].max()) if len(rows) else 0
    intervals = "with confidence intervals over users" if rows[C.CI_LOW].notna().any() else TOO_FEW
    return f"{intervals}, {n_targets:,} targets"
