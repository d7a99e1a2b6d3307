"""Figures as people read them, where there are users enough to tell and where there are not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tsrec.columns import ALL
from tsrec.config import EvaluateConfig
from tsrec.evaluate.scoring import score
from tsrec.evaluate.summary import headline, member_contributions, metrics_table
from tsrec.report.content import contribution_rows, metric_tables
from tsrec.report.plots import metrics_plot

CONFIG = EvaluateConfig(k=(2,), baseline="tsrec")


def _scored(n_users: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The fusion puts every target first, the LLM, and the fusion without it, second."""
    targets = np.arange(n_users)
    first, second = np.stack([targets, targets + 1], axis=1), np.stack([targets + 1, targets], axis=1)
    lists = {"fused": first, "tsrec": second, "fused without tsrec": second}
    everything = {ALL: np.ones(n_users, dtype=bool)}
    return score(lists, targets, np.arange(n_users), everything, n_users + 1, CONFIG, against=("tsrec", "fused"))


@pytest.mark.parametrize("n_users", [1, 4])
def test_with_few_users_people_read_that_they_are_too_few(n_users: int) -> None:
    metrics, differences = _scored(n_users)
    gain = "0.3691"  # 1 - 1 / log2(3)
    assert headline(differences) == f"The LLM adds to the fusion {gain} NDCG@2 (too few users to tell)."
    table = metrics_table(metrics, differences)
    assert table.loc["tsrec", "fused ahead by (NDCG@2)"] == f"+{gain} (too few users to tell)"
    fused = metric_tables(metrics, differences)[0]["rows"]["fused"]
    assert fused[:2] == ["1.0000 (too few users to tell)"] * 2
    assert "too few" not in fused[3]  # coverage never has an interval
    assert contribution_rows(differences)[0]["p"] == ""
    assert metrics_plot(metrics, "ndcg", 2).startswith(b"\x89PNG")


def test_tables_have_null_where_few_users_tell_nothing() -> None:
    for table in _scored(4):
        stored = pa.Table.from_pandas(table, preserve_index=False)
        for name in {"ci_low", "ci_high", "p"} & set(stored.column_names):
            assert stored[name].null_count == len(stored)
        assert stored["value"].null_count == 0


def test_with_users_enough_they_read_an_interval_and_p() -> None:
    metrics, differences = _scored(20)
    assert headline(differences) == "The LLM adds to the fusion 0.3691 NDCG@2 [+0.3691, +0.3691], p = 0.002."
    assert metrics_table(metrics, differences).loc["tsrec", "fused ahead by (NDCG@2)"] == "+0.3691 [+0.3691, +0.3691]"
    assert member_contributions(differences)["p"].tolist() == member_contributions(differences)["p"].dropna().tolist()


def test_a_difference_of_nothing_has_no_sign() -> None:
    metrics, differences = _scored(4)
    differences = differences.assign(value=0.0)
    assert headline(differences) == "The LLM adds to the fusion 0.0000 NDCG@2 (too few users to tell)."
    table = metrics_table(metrics, differences)
    assert table.loc["tsrec", "fused ahead by (NDCG@2)"] == "+0.0000 (too few users to tell)"
