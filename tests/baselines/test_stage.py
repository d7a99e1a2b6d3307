"""The stage: its table, ties, exclusion of what a user has, and going on after a kill."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.baselines.conftest import interactions_of, item_ids
from tests.keys import key_of
from tsrec.baselines import BASELINES, STAGE
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import BaselinesConfig
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

T, V, X = Split.TRAIN.value, Split.VALID.value, Split.TEST.value
N_ITEMS = 12


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.fixture
def ingest(store: ArtifactStore) -> Artifact:
    """Twenty users who walk along a ring of items; the last event is test, the one before it valid."""
    users = {
        f"u{user:02d}": [((user + step) % N_ITEMS, split) for step, split in enumerate([T] * (3 + user % 4) + [V, X])]
        for user in range(20)
    }

    def make(out: ArtifactWriter) -> None:
        out.write_table("items", pd.DataFrame({C.ITEM: item_ids(N_ITEMS)}))
        out.write_table("interactions", interactions_of(users))

    return store.build(key_of("ingest", "a"), make)


@pytest.fixture
def run(store: ArtifactStore, ingest: Artifact) -> Callable[[BaselinesConfig, str], Artifact]:
    def build(config: BaselinesConfig, mark: str) -> Artifact:
        return store.build(key_of("baselines", mark), lambda out: STAGE.run(config, {"ingest": ingest}, out))

    return build


Run = Callable[[BaselinesConfig, str], Artifact]


def test_every_target_gets_a_ranked_list_from_every_method(run: Run) -> None:
    config = BaselinesConfig(methods=tuple(BASELINES), top_k=5, sasrec_epochs=1)
    table = run(config, "b").frame("baseline_recommendations")
    assert list(table) == [C.METHOD, C.SPLIT, C.USER, C.POSITION, C.RANK, C.ITEM, C.SCORE]
    assert [str(table[name].dtype) for name in (C.POSITION, C.RANK, C.SCORE)] == ["int32", "int32", "float32"]
    assert set(table[C.METHOD]) == set(BASELINES) and set(table[C.SPLIT]) == {V, X}
    lists = table.groupby([C.METHOD, C.SPLIT, C.USER, C.POSITION])
    assert len(lists) == len(BASELINES) * 2 * 20
    assert (lists[C.RANK].apply(list).map(tuple) == (1, 2, 3, 4, 5)).all()
    assert (lists[C.ITEM].nunique() == 5).all()
    assert (np.diff(table[C.SCORE].to_numpy().reshape(-1, 5), axis=1) <= 0).all()
    assert (table[table[C.SPLIT] == X].groupby(C.USER)[C.POSITION].first() >= 4).all()


def test_ties_go_to_the_lower_item_index(run: Run) -> None:
    table = run(BaselinesConfig(methods=("popular",), top_k=N_ITEMS), "c").frame("baseline_recommendations")
    for _, one in table.groupby([C.SPLIT, C.USER]):
        order = one.sort_values([C.SCORE, C.ITEM], ascending=[False, True])
        assert one[C.ITEM].tolist() == order[C.ITEM].tolist()


def test_excluded_items_never_appear_and_lists_may_be_shorter(run: Run, ingest: Artifact) -> None:
    config = BaselinesConfig(methods=("popular", "transitions"), top_k=N_ITEMS, exclude_seen=True)
    table = run(config, "d").frame("baseline_recommendations")
    events = ingest.frame("interactions")
    for (_, user, position), one in table.groupby([C.METHOD, C.USER, C.POSITION]):
        seen = set(events[(events[C.USER] == user) & (events[C.POSITION] < position)][C.ITEM])
        assert not seen & set(one[C.ITEM])
        assert len(one) == N_ITEMS - len(seen) and np.isfinite(one[C.SCORE]).all()


def test_top_k_beyond_the_catalogue_lists_all_there_is(run: Run) -> None:
    table = run(BaselinesConfig(methods=("transitions",), top_k=99), "e").frame("baseline_recommendations")
    assert (table.groupby([C.SPLIT, C.USER]).size() == N_ITEMS).all()


def test_a_killed_run_goes_on_at_the_next_method(
    store: ArtifactStore, ingest: Artifact, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BaselinesConfig(methods=("popular", "transitions"), top_k=5)
    whole = run(config, "f").file("baseline_recommendations.parquet").read_bytes()
    fits: list[str] = []

    def kill(_: object) -> None:
        raise KeyboardInterrupt

    def counted(inputs: object) -> object:
        fits.append("popular")
        return popular(inputs)

    popular = BASELINES["popular"]
    monkeypatch.setitem(BASELINES, "popular", counted)
    with monkeypatch.context() as patch:
        patch.setitem(BASELINES, "transitions", kill)
        with pytest.raises(KeyboardInterrupt):
            run(config, "g")
    assert not store.find(key_of("baselines", "g"))
    shard = store.root / "tiny" / "baselines" / "g.partial" / "work" / "popular.parquet"
    assert pq.read_metadata(shard).num_rows == 2 * 20 * 5
    assert run(config, "g").file("baseline_recommendations.parquet").read_bytes() == whole
    assert fits == ["popular"]
