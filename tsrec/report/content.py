"""The report's content as plain values: tables turned into the lists that the page's template loops over."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsrec.columns import ALL, FUSED, Split
from tsrec.columns import Columns as C
from tsrec.evaluate.summary import (
    TOO_FEW,
    has_interval,
    is_ablation,
    member_contributions,
    metrics_table,
    with_interval,
)
from tsrec.sid.space import format_token
from tsrec.store import Artifact
from tsrec.store.parquet_file import open_parquet

_ROWS = 65_536
_GAIN_SHOWN = 8  # features of the trees
_EXAMPLES = 3  # items of each token


@dataclass(frozen=True)
class EventCounts:
    """What the report tells of the events.

    `n_targets` by split; `lengths` (L + 1,) int64: how many users have that many events; `n_train` (N,) int64: train
    events of each item.
    """

    n_targets: Mapping[str, int]
    lengths: np.ndarray
    n_train: np.ndarray


def count_events(ingest: Artifact) -> EventCounts:
    """Count the events of an `ingest` artifact, read in batches: memory does not grow with users."""
    item_number = pd.Index(ingest.frame("items", [C.ITEM])[C.ITEM])
    n_targets, n_train = Counter[str](), np.zeros(len(item_number), dtype=np.int64)
    at_position = np.zeros(0, dtype=np.int64)  # how many users have an event at each place of their history
    parquet = open_parquet(ingest.file("interactions.parquet"))
    for batch in parquet.iter_batches(_ROWS, columns=[C.ITEM, C.POSITION, C.SPLIT]):
        rows = batch.to_pandas()
        n_targets.update(rows.loc[rows[C.POSITION] > 0, C.SPLIT])
        in_train = item_number.get_indexer(rows.loc[rows[C.SPLIT] == Split.TRAIN.value, C.ITEM])
        n_train += np.bincount(in_train, minlength=len(n_train))
        here = np.bincount(rows[C.POSITION], minlength=len(at_position))
        here[: len(at_position)] += at_position
        at_position = here
    return EventCounts(n_targets, -np.diff(at_position, prepend=at_position[:1], append=0), n_train)


def data_summary(events: EventCounts) -> dict[str, str]:
    """Names and values of the data section."""
    n_items, n_users = len(events.n_train), int(events.lengths.sum())
    n_events = int(events.lengths @ np.arange(len(events.lengths)))
    targets = {f"{split.value} targets": f"{events.n_targets[split]:,}" for split in Split if split != Split.HISTORY}
    return {
        "items": f"{n_items:,}",
        "users": f"{n_users:,}",
        "interactions": f"{n_events:,}",
        "density": f"{n_events / max(n_users * n_items, 1):.4%}",
        **targets,
    }


def stage_counts(parents: Mapping[str, Artifact]) -> list[tuple[str, str, list[tuple[str, Any]]]]:
    """For each stage: its name with seconds, its fingerprint, and its counts (dropped, cut, moved, failed ...)."""
    return [
        (
            f"{name} ({artifact.manifest.seconds:,.0f} s)",
            artifact.fingerprint,
            sorted(artifact.counts.items()),
        )
        for name, artifact in parents.items()
    ]


def token_tree(semantics: pd.DataFrame, codes: np.ndarray, items: pd.DataFrame) -> list[dict[str, Any]]:
    """Level-1 tokens, largest first, each with its keywords, its own largest children and example titles."""
    titles = items[C.TITLE].to_numpy()
    meanings = {(int(row.level), int(row.code)): row for row in semantics.itertuples(index=False)}

    def node(level: int, code: int, members: np.ndarray) -> dict[str, Any]:
        meaning = meanings.get((level, code))
        return {
            "token": format_token(level, code),
            "n_items": len(members),
            "keywords": list(meaning.keywords) if meaning is not None else [],
            "titles": [titles[index] for index in members[:_EXAMPLES]],
        }

    tree = []
    for code, size in _largest(codes[:, 0]):
        members = np.flatnonzero(codes[:, 0] == code)
        branch = node(0, code, members)
        branch["share"] = f"{size / len(codes):.1%}"
        if codes.shape[1] > 1:
            below = codes[members, 1]
            branch["children"] = [node(1, c, members[below == c]) for c, _ in _largest(below)[:5]]
        tree.append(branch)
    return tree


def metric_tables(metrics: pd.DataFrame, differences: pd.DataFrame) -> list[dict[str, Any]]:
    """One table per cut-off, the largest first: `k`, the titles of its `columns`, and as `rows` per method its cells
    `value [low, high]`; the fusion, then its members, the best NDCG at the largest cut-off first. The first table also
    says by how much the fusion is ahead of each."""
    rows = metrics[(metrics[C.SLICE] == ALL) & ~metrics[C.METHOD].map(is_ablation)]
    ahead = metrics_table(metrics, differences).iloc[:, -1]
    tables: list[dict[str, Any]] = []
    for k, group in sorted(rows.groupby(C.K), key=lambda pair: -pair[0]):
        names = list(dict.fromkeys(group[C.METRIC]))
        cells = {(row.method, row.metric): row for row in group.itertuples(index=False)}
        shown = {method: [_cell(cells.get((method, name))) for name in names] for method in ahead.index}
        titles = [name if name == "coverage" else f"{name.upper()}@{k}" for name in names]
        if not tables:
            shown = {method: [*values, ahead[method]] for method, values in shown.items()}
            titles.append("fused is ahead by")
        tables.append({"k": int(k), "columns": titles, "rows": shown})
    return tables


def headline_figures(metrics: pd.DataFrame) -> dict[str, Any]:
    """The figures of the report's first sentence.

    `fused`: the fusion's hit rate at the largest cut-off `k`, over `n` targets; `best`: the best single member, and
    `best_rate`: its hit rate.
    """
    rows = metrics[(metrics[C.SLICE] == ALL) & (metrics[C.METRIC] == "hr") & (metrics[C.K] == metrics[C.K].max())]
    hit_rates = rows[~rows[C.METHOD].map(is_ablation)].set_index(C.METHOD)[C.VALUE]
    members = hit_rates[[method for method in hit_rates.index if not method.startswith(FUSED)]]
    return {
        "k": int(rows[C.K].iloc[0]),
        "n": f"{int(rows[C.N].max()):,}",
        "fused": f"{hit_rates[FUSED]:.1%}",
        "best": members.idxmax(),
        "best_rate": f"{members.max():.1%}",
    }


def slice_rows(metrics: pd.DataFrame, metric: str, k: int) -> list[dict[str, Any]]:
    """One row a slice: its name, its number of targets `n`, and per method, in one order, `value [low, high]`."""
    shown = (metrics[C.SLICE] != ALL) & ~metrics[C.METHOD].map(is_ablation)
    rows = metrics[shown & (metrics[C.METRIC] == metric) & (metrics[C.K] == k)]
    methods = list(dict.fromkeys(rows[C.METHOD]))
    return [
        {
            "slice": name,
            "n": f"{int(group[C.N].max()):,}",
            "cells": {method: _cell(next(group[group[C.METHOD] == method].itertuples(), None)) for method in methods},
        }
        for name, group in rows.groupby(C.SLICE, sort=False)
    ]


def contribution_rows(differences: pd.DataFrame) -> list[dict[str, str]]:
    """What each member adds to the fusion at the largest cut-off: member, metric, gain with its interval, and p."""
    return [
        {
            "member": row.method,
            "metric": f"{row.metric.upper()}@{row.k}",
            "gain": with_interval(row.value, row.ci_low, row.ci_high),
            "p": f"{row.p:.3g}" if has_interval(row.p) else "",
        }
        for row in member_contributions(differences).itertuples(index=False)
    ]


def gate_rows(gate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The gate's weights as a table: one row a member, one column a feature."""
    return [
        {
            "member": name,
            "temperature": f"{member['temperature']:.3g}",
            **{feature: f"{weight:+.2f}" for feature, weight in member["weights"].items()},
        }
        for name, member in gate["members"].items()
    ]


def trees_summary(fuse: Artifact) -> dict[str, Any] | None:
    """How many trees rerank the gate's first items, and which features they use most; None without trees."""
    if not fuse.has("trees.json"):
        return None
    trees = fuse.json("trees")
    by_gain = sorted(trees["gain"].items(), key=lambda pair: -pair[1])  # JSON files sort their keys
    return {"n_trees": trees["n_trees"], "gain": [(name, f"{share:.0%}") for name, share in by_gain[:_GAIN_SHOWN]]}


def _largest(codes: np.ndarray) -> list[tuple[int, int]]:
    values, sizes = np.unique(codes, return_counts=True)
    order = np.lexsort((values, -sizes))
    return [(int(values[index]), int(sizes[index])) for index in order]


def _cell(row: Any) -> str:
    if row is None:
        return ""
    if not has_interval(row.ci_low):  # coverage has none, however many users there are
        return f"{row.value:.4f}" + ("" if row.metric == "coverage" else f" ({TOO_FEW})")
    return f"{row.value:.4f} [{row.ci_low:.4f}, {row.ci_high:.4f}]"
