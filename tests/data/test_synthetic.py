"""Invented data: exact sizes, the same bytes again, and what is planted in it can be found."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.conftest import run_ingest
from tsrec.config import IngestConfig
from tsrec.data.synthetic import generate, main
from tsrec.errors import ConfigError

N_ITEMS, N_USERS, N_EVENTS = 400, 1_500, 40_000


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Items by id; events in order of time, each with its item's title and category and its user's item before."""
    folder = tmp_path_factory.mktemp("invented")
    generate(folder, N_ITEMS, N_USERS, N_EVENTS)
    items = pd.read_parquet(folder / "items.parquet").set_index("item_id")
    events = pd.read_parquet(folder / "interactions.parquet").join(items, on="item_id")
    return items, events.assign(before=events.groupby("user_id")["title"].shift())


def test_sizes_are_exact_and_times_in_order(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    items, events = tables
    assert len(items) == items.index.nunique() == items["title"].nunique() == N_ITEMS
    assert (len(events), events["user_id"].nunique()) == (N_EVENTS, N_USERS)
    assert events["timestamp"].is_monotonic_increasing


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1, 9), (5, 7, 7), (1_000, 3, 50), (1_201, 10, 10)])
def test_any_sizes(tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    generate(tmp_path, *sizes)
    items, events = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("items", "interactions"))
    assert (items["title"].nunique(), events["user_id"].nunique(), len(events)) == sizes
    assert events["item_id"].isin(items["item_id"]).all()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number, seed in enumerate("112"):
        folder = tmp_path / str(number)
        sizes = ["--items", "50", "--users", "40", "--events", "500", "--seed", seed]
        monkeypatch.setattr("sys.argv", ["synthetic", str(folder), *sizes])
        main()
        files = (folder / "items.parquet", folder / "interactions.parquet")
        found.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert found[0] == found[1]
    assert not set(found[0]) & set(found[2])


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 5, 4)])
def test_sizes_that_cannot_be_are_refused(tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="each user needs an event"):
        generate(tmp_path, *sizes)


def test_popularity_is_zipfs(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """A straight line of slope -1 in logarithms."""
    counts = np.log(tables[1]["item_id"].value_counts().to_numpy()[:200])
    ranks = np.log(np.arange(1, len(counts) + 1))
    assert np.polyfit(ranks, counts, 1)[0] == pytest.approx(-1, abs=0.15)
    assert np.corrcoef(ranks, counts)[0, 1] < -0.98


def test_users_have_tastes(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Three categories hold most of a user's events, more than they would if categories were dealt out anew."""
    events = tables[1][["user_id", "categories"]]
    dealt = events.assign(categories=events["categories"].sample(frac=1, random_state=1).to_numpy())

    def share_of_three(log: pd.DataFrame) -> float:
        top = log.groupby("user_id")["categories"].value_counts().groupby("user_id").head(3)
        return float(top.sum() / len(log))

    assert share_of_three(events) > share_of_three(dealt) + 0.2


def test_half_of_the_time_a_refill_follows_its_item(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    items, events = tables
    refill = events["before"] + ", refill"
    follows = (events["title"] == refill)[refill.isin(items["title"])]
    assert len(follows) > N_EVENTS / 10
    assert follows.mean() == pytest.approx(0.5, abs=0.05)


def test_counted_transitions_beat_popularity(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """On each user's last event: the item that most often came next, against the one that came most often."""
    events = tables[1].dropna()
    is_last = ~events["user_id"].duplicated(keep="last")
    after: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for before, title in events.loc[~is_last, ["before", "title"]].itertuples(index=False):
        after[before][title] += 1
    popular = events.loc[~is_last, "title"].mode()[0]
    guesses = [after[before].most_common(1)[0][0] if after[before] else popular for before in events["before"][is_last]]
    titles = events["title"][is_last]
    assert (titles == guesses).mean() > 1.5 * (titles == popular).mean()


def test_ingest_reads_it_as_it_is(tmp_path: Path) -> None:
    generate(tmp_path, 30, 40, 500)
    artifact = run_ingest(IngestConfig(source="tables", path=str(tmp_path)), tmp_path / "store")
    assert (artifact.counts["n_items"], artifact.counts["n_users"], artifact.counts["n_interactions"]) == (30, 40, 500)
