"""What the report says, as plain values: tables turned into the lists that the page's template walks through."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tsrec.columns import ALL, FUSED, Split
from tsrec.columns import Columns as C
from tsrec.evaluate.summary import TOO_FEW, has_interval, is_ablation, with_interval, worth
from tsrec.sid.space import format_sid, format_token
from tsrec.store import Artifact

_GAIN_SHOWN = 8  # features of the trees
_USERS_SHOWN = 12  # few enough to read, enough to see different histories
_EXAMPLES = 3  # items of each token


def data_summary(items: pd.DataFrame, interactions: pd.DataFrame) -> list[tuple[str, str]]:
    """Names and values of the data section."""
    targets = interactions[interactions[C.POSITION] > 0][C.SPLIT].value_counts()
    n_users = interactions[C.USER].nunique()
    density = len(interactions) / max(n_users * len(items), 1)
    return [
        ("items", f"{len(items):,}"),
        ("users", f"{n_users:,}"),
        ("interactions", f"{len(interactions):,}"),
        ("density", f"{density:.4%}"),
        *((f"{split.value} targets", f"{int(targets.get(split.value, 0)):,}") for split in Split if split != "history"),
    ]


def stage_counts(parents: Mapping[str, Artifact]) -> list[tuple[str, str, list[tuple[str, Any]]]]:
    """Per stage: its fingerprint, and everything that it counted (dropped, cut, moved, failed ...)."""
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


def metric_rows(metrics: pd.DataFrame) -> tuple[list[str], list[dict[str, Any]]]:
    """The table of methods: column titles, the largest K first, and per method its cells `value [low, high]`; the
    fusion, then its members, best NDCG first."""
    rows = metrics[(metrics[C.SLICE] == ALL) & ~metrics[C.METHOD].map(is_ablation)]
    columns = list(dict.fromkeys(zip(rows[C.METRIC], rows[C.K].astype(int), strict=True)))
    columns.sort(key=lambda column: -column[1])  # stable: metrics of one K stay in their order
    largest = columns[0][1]
    methods = []
    for method, group in rows.groupby(C.METHOD, sort=False):
        cells = {(row.metric, int(row.k)): row for row in group.itertuples(index=False)}
        methods.append(
            {
                "method": method,
                "n": f"{int(group[C.N].max()):,}",
                "cells": [_cell(cells.get(column)) for column in columns],
                "order": cells[("ndcg", largest)].value,
            }
        )
    return [f"{metric.upper()}@{k}" for metric, k in columns], sorted(
        methods, key=lambda m: (m["method"] != FUSED, -m["order"])
    )


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


def worth_rows(differences: pd.DataFrame) -> list[dict[str, str]]:
    """What each member adds to the fusion, at the largest cut-off: member, metric, the gain with its interval, p."""
    return [
        {
            "member": row.method,
            "metric": f"{row.metric.upper()}@{row.k}",
            "gain": with_interval(row.value, row.ci_low, row.ci_high),
            "p": f"{row.p:.3g}" if has_interval(row.p) else "",
        }
        for row in worth(differences).itertuples(index=False)
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


def trees_shown(fuse: Artifact) -> dict[str, Any] | None:
    """How many trees order the gate's first proposals anew, and what they look at most; None where there are none."""
    if not fuse.has("trees.json"):
        return None
    trees = fuse.json("trees")
    most_first = sorted(trees["gain"].items(), key=lambda pair: -pair[1])  # files sort what they name
    return {"n_trees": trees["n_trees"], "gain": [(name, f"{share:.0%}") for name, share in most_first[:_GAIN_SHOWN]]}


def user_stories(parents: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """A few users: what they had, what was recommended, and which meanings the two share."""
    interactions = parents["ingest"].frame("interactions")
    recommendations = parents["fuse"].frame("recommendations")
    recommendations = recommendations[recommendations[C.SPLIT] == Split.TEST.value]
    titles = parents["ingest"].frame("items").set_index(C.ITEM)[C.TITLE]
    codes = parents["sids"].frame("item_sids").set_index(C.ITEM)[C.CODES]
    semantics = parents["sa_init"].frame("token_semantics")
    keywords = {(int(r.level), int(r.code)): list(r.keywords[:4]) for r in semantics.itertuples(index=False)}
    chosen = recommendations[[C.USER, C.POSITION]].drop_duplicates()
    chosen = chosen.iloc[np.linspace(0, len(chosen) - 1, min(_USERS_SHOWN, len(chosen))).astype(int)]
    stories = []
    for user, position in chosen.itertuples(index=False):
        events = interactions[interactions[C.USER] == user]
        history = events[events[C.POSITION] < position][C.ITEM].tolist()[-10:]
        actual = events[events[C.POSITION] == position][C.ITEM].tolist()
        picks = recommendations[(recommendations[C.USER] == user) & (recommendations[C.POSITION] == position)]
        stories.append(
            {
                "user": user,
                "history": [{"title": titles[item], "sid": format_sid(codes[item])} for item in history],
                "actual": [titles[item] for item in actual],
                "picks": [
                    {
                        "rank": int(row.rank),
                        "title": titles[row.item_id],
                        "sid": format_sid(codes[row.item_id]),
                        "score": f"{row.score:.2f}" if row.score == row.score else "",
                        "proposed_by": ", ".join(row.proposed_by),
                        "hit": row.item_id in actual,
                        "why": _why(row.item_id, history, codes, keywords),
                    }
                    for row in picks.sort_values(C.RANK).head(10).itertuples(index=False)
                ],
            }
        )
    return stories


def _why(item: str, history: list[str], codes: pd.Series, keywords: dict[tuple[int, int], list[str]]) -> str:
    """The longest SID prefix that the item shares with items of the history, and what its tokens mean."""
    if item in history:
        return "had it before"
    own = [int(code) for code in codes[item]]
    for depth in range(len(own), 0, -1):
        n_sharing = sum([int(code) for code in codes[other][:depth]] == own[:depth] for other in history)
        if n_sharing:
            words = [word for level in range(depth) for word in keywords.get((level, own[level]), [])[:3]]
            return f"shares {format_sid(own[:depth])} ({', '.join(words)}) with {n_sharing} of the history"
    return f"new ground: {', '.join(keywords.get((0, own[0]), []))}"


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
