"""What the report says about tokens, methods and users."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keys import key_of
from tsrec.report import content, user_examples
from tsrec.report.content import headline_figures, metric_tables, slice_rows, token_tree
from tsrec.report.plots import _percentile_99
from tsrec.report.user_examples import _why, example_users
from tsrec.store import Artifact, ArtifactStore

ITEMS = pd.DataFrame({"item_id": list("abcd"), "title": ["hammer", "mallet", "glue", "epoxy"]})
CODES = np.array([[0, 0], [0, 1], [1, 0], [1, 0]])
SEMANTICS = pd.DataFrame(
    {"level": [0, 0, 1], "code": [0, 1, 0], "keywords": [["tool", "steel"], ["adhesive"], ["heavy"]]}
)


def test_events_and_lists_are_counted_the_same_in_batches_of_any_size(
    artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = example_users(artifacts, 12)
    for module in (content, user_examples):
        monkeypatch.setattr(module, "_ROWS", 7)
    assert example_users(artifacts, 12) == whole
    items, table = (artifacts["ingest"].frame(name) for name in ("items", "interactions"))
    events = content.count_events(artifacts["ingest"])
    lengths = table.groupby("user_id").size()
    assert events.lengths.tolist() == np.bincount(lengths).tolist()
    in_train = table[table["split"] == "train"]["item_id"].value_counts()
    assert events.n_train.tolist() == items["item_id"].map(in_train).fillna(0).tolist()
    summary = content.data_summary(events)
    targets = table[table["position"] > 0]["split"].value_counts()
    assert {name: summary[f"{name} targets"] for name in ("train", "valid", "test")} == targets.astype(str).to_dict()
    assert (summary["users"], summary["interactions"]) == (str(len(lengths)), str(len(table)))
    assert summary["density"] == f"{len(table) / len(lengths) / len(items):.4%}"


def test_without_test_targets_there_are_no_users_to_show(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    nobody = artifacts["fuse"].table("recommendations")[:0]
    fuse = ArtifactStore(tmp_path).build(key_of("fuse"), lambda out: out.write_table("recommendations", nobody))
    stories = example_users({**artifacts, "fuse": fuse}, 12)
    assert stories == {"users": [], "n_hits": 0, "n_targets": 0, "hit_rate": 0}


@given(st.lists(st.integers(0, 30), min_size=1))
def test_the_percentile_of_counted_numbers_is_that_of_the_numbers(numbers: list[int]) -> None:
    assert _percentile_99(np.bincount(numbers)) == int(np.quantile(numbers, 0.99))


def test_token_tree_has_every_level_one_token_with_meaning_examples_and_children() -> None:
    tree = token_tree(SEMANTICS, CODES, ITEMS)
    assert [(node["token"], node["n_items"], node["share"]) for node in tree] == [
        ("<a_0>", 2, "50.0%"),
        ("<a_1>", 2, "50.0%"),
    ]
    assert tree[0]["keywords"] == ["tool", "steel"] and tree[0]["titles"] == ["hammer", "mallet"]
    assert [child["token"] for child in tree[0]["children"]] == ["<b_0>", "<b_1>"]
    assert tree[0]["children"][1]["keywords"] == []  # a token whose meaning is unknown is shown without one


def test_methods_are_ranked_by_ndcg_at_the_largest_k_after_the_fusion() -> None:
    rows = [
        ("popular", "hr", 5, 0.1, 0.0, 0.2),
        ("popular", "ndcg", 5, 0.09, 0.0, 0.2),
        ("popular", "hr", 10, 0.3, 0.2, 0.4),
        ("popular", "ndcg", 10, 0.1, 0.05, 0.15),
        ("tsrec", "hr", 10, 0.2, 0.1, 0.3),
        ("tsrec", "ndcg", 10, 0.15, 0.1, 0.2),
        ("tsrec", "coverage", 10, 0.5, np.nan, np.nan),
        ("fused", "hr", 10, 0.25, 0.2, 0.3),
        ("fused", "ndcg", 10, 0.14, 0.1, 0.2),
        ("fused without tsrec", "ndcg", 10, 0.3, 0.2, 0.4),
    ]
    metrics = pd.DataFrame(rows, columns=["method", "metric", "k", "value", "ci_low", "ci_high"])
    metrics = metrics.assign(slice="all", n=7)
    ahead = pd.DataFrame([("popular", "fused", "ndcg", 10, -0.04, -0.05, -0.03, 0.01)])
    ahead.columns = ["method", "against", "metric", "k", "value", "ci_low", "ci_high", "p"]
    ten, five = metric_tables(metrics, ahead)
    assert (ten["k"], ten["columns"]) == (10, ["HR@10", "NDCG@10", "coverage", "fused is ahead by"])
    assert list(ten["rows"]) == ["fused", "tsrec", "popular"]
    assert ten["rows"]["tsrec"] == ["0.2000 [0.1000, 0.3000]", "0.1500 [0.1000, 0.2000]", "0.5000", ""]
    assert ten["rows"]["popular"][2:] == ["", "+0.0400 [+0.0300, +0.0500]"]  # its coverage was not measured
    assert five["columns"] == ["HR@5", "NDCG@5"] and five["rows"]["tsrec"] == ["", ""]
    assert headline_figures(metrics) == {"k": 10, "n": "7", "fused": "25.0%", "best": "popular", "best_rate": "30.0%"}


def test_every_slice_says_of_how_many_targets_it_is() -> None:
    rows = [
        ("fused", "all", 0.3, 900),
        ("fused", "head items", 0.4, 800),
        ("fused", "cold items", 0.1, 38),
        ("text-similarity", "head items", 0.2, 800),
        ("text-similarity", "cold items", 0.25, 38),
        ("fused without tsrec", "cold items", 0.2, 38),
    ]
    metrics = pd.DataFrame(rows, columns=["method", "slice", "value", "n"])
    metrics = metrics.assign(metric="hr", k=10, ci_low=0.0, ci_high=0.5)
    assert slice_rows(metrics, "hr", 10) == [
        {"slice": "head items", "n": "800", "cells": _cells(fused="0.4000", text="0.2000")},
        {"slice": "cold items", "n": "38", "cells": _cells(fused="0.1000", text="0.2500")},
    ]
    assert slice_rows(metrics, "ndcg", 10) == []


def _cells(fused: str, text: str) -> dict[str, str]:
    return {"fused": f"{fused} [0.0000, 0.5000]", "text-similarity": f"{text} [0.0000, 0.5000]"}


@pytest.mark.parametrize(
    ("item", "history", "reason"),
    [
        ("a", ["a", "b"], ("The user has had it before:", "<a_0><b_0>", "tool, steel, heavy")),
        ("b", ["a", "c"], ("Like hammer: both have", "<a_0>", "tool, steel")),
        ("d", ["c"], ("Like glue: both have", "<a_1><b_0>", "adhesive, heavy")),
        ("b", ["a", *"c" * 20], ("Shares no first token with a recent item. Its own:", "<a_0>", "tool, steel")),
    ],
)
def test_why_names_the_recent_item_that_shares_most_tokens(
    item: str, history: list[str], reason: tuple[str, str, str]
) -> None:
    titles = dict(zip(ITEMS["item_id"], ITEMS["title"], strict=True))
    codes = dict(zip(ITEMS["item_id"], CODES.tolist(), strict=True))
    keywords = {(0, 0): ["tool", "steel"], (0, 1): ["adhesive"], (1, 0): ["heavy"]}
    assert _why(item, history, titles, codes, keywords) == reason
