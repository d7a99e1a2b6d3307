"""Histories from plain lists, members fitted on them, and the real data where they lie beside the project."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.plain_histories import build_histories
from tsrec.columns import Columns as C
from tsrec.config import Section
from tsrec.histories import Histories
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.member import FitInputs, Member
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.ranking import Filter

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


def catalogue_of(histories: Histories, n_items: int) -> Catalogue:
    return Catalogue.from_events(item_ids(n_items).to_numpy(dtype=object), *histories.train_events())


class TextVectors:
    """An `embed` artifact as members read it."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def matrix(self, table: str, column: str) -> np.ndarray:
        return self.vectors


def fitted(
    method: str,
    histories: Histories,
    n_items: int,
    config: Section | None = None,
    parents: Mapping[str, Any] | None = None,
) -> Member:
    """A member that was fitted, saved and opened again."""
    kind = MEMBERS[method]
    config = config or kind.config_type()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        work.mkdir()
        kind.fit(FitInputs(histories, catalogue_of(histories, n_items), config, parents or {}, work, Path(folder)))
        return kind.load(Path(folder), config)


def scores_of(member: Member, histories: Histories, events: np.ndarray, n_items: int) -> np.ndarray:
    """(T, n_items) the scores of what a member proposes, 0 for all else."""
    pasts = [histories.history_of(int(event)) for event in events]
    items, values = member.rank(pasts, n_items, Filter(n_items))
    scores = np.zeros((len(events), n_items))
    rows, places = np.nonzero(items >= 0)
    scores[rows, items[rows, places]] = values[rows, places]
    return scores


@pytest.fixture(scope="session", params=["industrial", pytest.param("beauty", marks=pytest.mark.slow)])
def benchmark(request: pytest.FixtureRequest) -> tuple[str, Histories, int, list[str]]:
    """Name, histories, number of items, and user ids in the file's order, of a real data set."""
    folder = SHARED / request.param
    if not folder.exists():
        pytest.skip("the benchmark data (../shared/data from the project's root) are absent")
    items = pd.read_json(folder / "items.jsonl.gz", lines=True, dtype={C.ITEM: str})[C.ITEM].sort_values()
    table = pd.read_csv(folder / "interactions.csv.gz", dtype={C.USER: str, C.ITEM: str})
    table[C.POSITION] = table.groupby(C.USER).cumcount()
    return request.param, build_histories(table, items.reset_index(drop=True)), len(items), list(table[C.USER].unique())
