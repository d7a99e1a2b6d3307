"""The metrics table as people read it: one row per method."""

import pandas as pd

from tsrec.columns import Columns as C


def metrics_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """HR, NDCG at every cut-off of all targets, and n; rows are methods, best NDCG at the largest cut-off first."""
    rows = metrics[(metrics[C.SLICE] == "all") & metrics[C.METRIC].isin(("hr", "ndcg"))]
    names = rows[C.METRIC].str.upper() + "@" + rows[C.K].astype(str)
    table = rows.assign(name=names).pivot_table(index=C.METHOD, columns="name", values=C.VALUE, sort=False)
    table["n"] = rows.groupby(C.METHOD)[C.N].max()
    return table.sort_values(f"NDCG@{rows[C.K].max()}", ascending=False).round(4).rename_axis(columns=None)
