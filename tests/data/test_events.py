"""Events come out of many batches as they went in; times of digits alone take a way of their own."""

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tsrec.data.events import EventReader
from tsrec.data.files import Batch
from tsrec.data.growing_array import GrowingArray
from tsrec.data.timestamps import parse_times

COLUMNS = ("user_id", "item_id", "timestamp")


def test_users_of_many_batches_keep_their_numbers() -> None:
    random = np.random.default_rng(1)
    reader = EventReader(pd.Index(["a", "b"]), needs_rating=False, needs_split=False)
    read = []
    for number in range(70):  # users are numbered every 16 batches, and at the end
        users = [f"u{user}" for user in random.integers(3 * number + 1, size=5)]
        rows = pd.DataFrame({"user_id": users, "item_id": list("abzba"), "timestamp": 5 * number + np.arange(5)})
        reader.read(Batch(rows, Path("log.csv"), 5 * number + 1, COLUMNS))
        read.append(rows[rows["item_id"] != "z"])
    events, user_ids, _, _ = reader.events()
    expected = pd.concat(read)
    assert user_ids.is_unique and reader.n_unknown_items == 70
    assert user_ids[events.user].tolist() == expected["user_id"].tolist()
    assert np.array(["a", "b"])[events.item].tolist() == expected["item_id"].tolist()
    assert events.timestamp.tolist() == expected["timestamp"].tolist()
    assert (events.user.dtype, events.item.dtype, events.timestamp.dtype) == (np.int32, np.int32, np.int64)


@given(st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9), max_size=9))
def test_an_array_that_grows_holds_what_was_appended(parts: list[list[int]]) -> None:
    grown = GrowingArray(np.int32)
    for part in parts:
        grown.append(np.array(part, dtype=np.int32))
    assert grown.values().tolist() == [value for part in parts for value in part]


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1).map(str), st.from_regex(r"\A[0-9]{1,19}\Z")), min_size=1))
def test_whole_numbers_as_text_are_read_exactly(texts: list[str]) -> None:
    texts = [text for text in texts if -(2**63) <= int(text) < 2**63] or ["007"]
    times, bad = parse_times(pd.Series(texts, dtype="str"))
    assert not bad.any() and not times.nanos.any() and not times.is_date.any()
    assert times.whole.tolist() == [int(text) for text in texts]
