import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keys import key_of
from tests.plain_histories import build_histories
from tsrec import histories as histories_module
from tsrec.columns import Split
from tsrec.errors import ArtifactError
from tsrec.histories import Histories, read_histories
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

ITEMS = pd.Series(["i0", "i1", "i2", "i3"])
EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from([split.value for split in Split])),
    min_size=1,
    max_size=25,
)


def table_of(events: list[tuple[str, int, str]]) -> pd.DataFrame:
    """An `interactions` table in which each user's events happen in the order of the list."""
    frame = pd.DataFrame(events, columns=["user_id", "item", "split"])
    frame["item_id"] = "i" + frame.pop("item").astype(str)
    frame["position"] = frame.groupby("user_id").cumcount().astype("int32")
    frame["timestamp"] = 1_000 + frame["position"].astype("int64")
    return frame


@pytest.fixture
def histories() -> Histories:
    return build_histories(
        table_of(
            [
                ("b", 0, "train"),
                ("a", 3, "history"),
                ("b", 1, "train"),
                ("a", 2, "valid"),
                ("b", 2, "valid"),
                ("b", 3, "test"),
                ("c", 1, "test"),
            ]
        ),
        ITEMS,
    )


def test_users_in_order_of_id_events_in_order_of_time(histories: Histories) -> None:
    assert histories.user_ids.tolist() == ["a", "b", "c"] and histories.n_users == 3
    assert histories.offsets.tolist() == [0, 2, 6, 7]
    assert histories.items.tolist() == [3, 2, 0, 1, 2, 3, 1] and histories.items.dtype == np.int32
    assert histories.positions().tolist() == [0, 1, 0, 1, 2, 3, 0]
    assert histories.users().tolist() == [0, 0, 1, 1, 1, 1, 2]
    assert histories.times.tolist() == [1000, 1001, 1000, 1001, 1002, 1003, 1000]


def test_a_target_has_an_earlier_event_whatever_its_split(histories: Histories) -> None:
    assert histories.target_events(Split.TRAIN).tolist() == [3]
    assert histories.target_events(Split.VALID).tolist() == [1, 4]
    assert histories.target_events(Split.TEST).tolist() == [5]  # user c's only event has no history


def test_the_history_of_a_target_is_all_before_it_of_the_same_user(histories: Histories) -> None:
    assert histories.history_of(5).tolist() == [0, 1, 2]
    assert histories.history_of(5, max_items=2).tolist() == [1, 2]
    assert histories.history_of(1, max_items=9).tolist() == [3]
    assert histories.history_of(2).tolist() == []


def test_whether_valid_comes_after_train() -> None:
    events = [(f"u{user}", user % 3, split) for user in range(40) for split in ("train", "train", "valid", "test")]
    table = table_of(events)
    table["timestamp"] = [10 * user + place for user in range(40) for place in range(4)]  # one user after another
    assert not build_histories(table, ITEMS).is_split_by_time()
    table["timestamp"] += table["split"].map({"train": 0, "valid": 1_000, "test": 2_000})
    assert build_histories(table, ITEMS).is_split_by_time()
    assert not build_histories(table[table["split"] != "valid"], ITEMS).is_split_by_time()


def _stored(table: pd.DataFrame, folder: Path) -> Artifact:
    def write(out: ArtifactWriter) -> None:
        out.write_table("items", ITEMS.to_frame("item_id"))
        out.write_table("interactions", table)

    return ArtifactStore(folder).build(key_of("ingest"), write)


@pytest.mark.parametrize("n_rows", [1, 3, 100])
def test_what_is_read_in_blocks_is_what_the_plain_reference_makes_at_once(
    n_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [(user, place % 4, split) for user in "abcd" for place, split in enumerate(["train"] * 3 + ["test"])]
    table = table_of(events)
    monkeypatch.setattr(histories_module, "_ROWS", n_rows)
    found, expected = read_histories(_stored(table, tmp_path)), build_histories(table, ITEMS)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values)
        assert getattr(found, name).dtype == values.dtype


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([("a", 9, "train")], "name items that the items table lacks; run ingest again"),
        ([("b", 1, "train"), ("a", 1, "train")], "not in order of users; run ingest again"),
    ],
)
def test_interactions_that_ingest_did_not_write_are_refused(
    events: list[tuple[str, int, str]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_histories(_stored(table_of(events), tmp_path))


@given(EVENTS, st.randoms())
def test_agrees_with_a_plain_loop_whatever_the_order_of_rows(
    events: list[tuple[str, int, str]], shuffler: random.Random
) -> None:
    rows = list(range(len(events)))
    shuffler.shuffle(rows)
    histories = build_histories(table_of(events).iloc[rows], ITEMS)
    by_user = {user: [event for event in events if event[0] == user] for user in sorted({e[0] for e in events})}
    flat = [(event, own[:position]) for own in by_user.values() for position, event in enumerate(own)]
    assert histories.user_ids.tolist() == list(by_user)
    for split in Split:
        expected = [row for row, (event, before) in enumerate(flat) if event[2] == split.value and before]
        assert histories.target_events(split).tolist() == expected
    for row, (event, before) in enumerate(flat):
        assert histories.items[row] == event[1]
        assert histories.history_of(row).tolist() == [item for _, item, _ in before]
        assert histories.history_of(row, 2).tolist() == [item for _, item, _ in before][-2:]
