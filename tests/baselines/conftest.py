"""Histories from plain lists, and the real data where they lie beside the project."""

from pathlib import Path

import pandas as pd
import pytest

from tsrec.columns import Columns as C
from tsrec.histories import Histories, build_histories

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def interactions_of(users: dict[str, list[tuple[int, str]]]) -> pd.DataFrame:
    """The interactions table of users' (item number, split) events."""
    rows = [
        (user, f"i{item:02d}", position, position, split)
        for user, events in users.items()
        for position, (item, split) in enumerate(events)
    ]
    table = pd.DataFrame(rows, columns=[C.USER, C.ITEM, C.TIMESTAMP, C.POSITION, C.SPLIT])
    return table.astype({C.POSITION: "int32"})


def item_ids(n_items: int) -> pd.Series:
    return pd.Series([f"i{item:02d}" for item in range(n_items)])


def histories_of(users: dict[str, list[tuple[int, str]]], n_items: int) -> Histories:
    return build_histories(interactions_of(users), item_ids(n_items))


@pytest.fixture(scope="session", params=["industrial", "beauty"])
def benchmark(request: pytest.FixtureRequest) -> tuple[str, Histories, int, list[str]]:
    """Name, histories, number of items, and user ids in the file's order, of a real data set."""
    folder = SHARED / request.param
    if not folder.exists():
        pytest.skip("the benchmark data (../shared/data from the project's root) are absent")
    items = pd.read_json(folder / "items.jsonl.gz", lines=True, dtype={C.ITEM: str})[C.ITEM].sort_values()
    table = pd.read_csv(folder / "interactions.csv.gz", dtype={C.USER: str, C.ITEM: str})
    table[C.POSITION] = table.groupby(C.USER).cumcount()
    return request.param, build_histories(table, items.reset_index(drop=True)), len(items), list(table[C.USER].unique())
