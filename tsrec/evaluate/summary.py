"""The metrics table as people read it: one row per method."""

import pandas as pd

from tsrec.columns import Columns as C


def metrics_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """HR and NDCG of all targets at every cut-off, n, and the intervals at the largest cut-off.

    Rows are methods, best NDCG at the largest cut-off first.
    """
    rows = metrics[(metrics[C.SLICE] == "all") & metrics[C.METRIC].isin(("hr", "ndcg"))]
    rows = rows.assign(name=rows[C.METRIC].str.upper() + "@" + rows[C.K].astype(str))
    table = rows.pivot_table(index=C.METHOD, columns="name", values=C.VALUE, sort=False).round(4)
    table["n"] = rows.groupby(C.METHOD)[C.N].max()
    largest = rows[C.K].max()
    for name, group in rows[rows[C.K] == largest].groupby("name", sort=False):
        bounds = group.set_index(C.METHOD)[[C.CI_LOW, C.CI_HIGH]]
        table[f"{name} interval"] = [f"[{low:.4f}, {high:.4f}]" for low, high in bounds.loc[table.index].to_numpy()]
    return table.sort_values(f"NDCG@{largest}", ascending=False).rename_axis(columns=None)
