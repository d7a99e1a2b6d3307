"""What the model that is refreshed has learned from is no target of the next one, however late rows move the cuts."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import HEADER, Ingest, with_log
from tsrec.data.data_quality import data_quality_lines
from tsrec.data.events import SPLITS, Events
from tsrec.data.refresh_leakage import without_leaked_targets
from tsrec.errors import DataError
from tsrec.store import Artifact

EVENT = ["user_id", "item_id", "timestamp"]
KNOWN = "n_held_out_events_known_to_base"
RANK = {"history": 0, "train": 1, "valid": 2, "test": 3}


def _events(n: int, first: int, users: int = 50) -> str:
    return "".join(f"u{time % users},{'abc'[time % 3]},{time}\n" for time in range(first, first + n))


def _files(*parts: str) -> dict[str, str]:
    return with_log(HEADER + "".join(parts))


def _split(artifact: Artifact) -> pd.Series:
    return artifact.frame("interactions").set_index(EVENT)["split"]


def test_late_rows_do_not_hold_out_what_the_base_was_trained_on(ingest: Ingest) -> None:
    """1,000 events; 200 of before the first of them come late: every cut moves back by a tenth of the old rows."""
    before = ingest(_files(_events(1000, 500)), split="time")
    late = _files(_events(200, 0), _events(1000, 500))
    anew = ingest(late, split="time")
    refreshed = ingest(late, split="time", base=before)
    assert (_split(anew) == "valid").sum() == 120
    # Without a base, 40 of the 120 events of valid were train, and 20 of the 120 of test were valid.
    both = pd.concat([_split(before).rename("old"), _split(anew).rename("new")], axis=1, join="inner")
    assert pd.crosstab(both["old"], both["new"]).loc[["train", "valid"], ["valid", "test"]].to_numpy().tolist() == [
        [40, 0],
        [80, 20],
    ]
    assert refreshed.counts[KNOWN] == 60
    changed = _split(refreshed) != _split(anew)
    assert changed.sum() == 60 and (_split(refreshed)[changed] == "history").all()
    old, new = (_split(artifact).reindex(_split(before).index).map(RANK) for artifact in (before, refreshed))
    assert (new <= old).all()
    assert refreshed.counts["n_valid_targets"] == 80 and refreshed.counts["n_test_targets"] == 100
    (line,) = [line for line in data_quality_lines(refreshed) if "known to the model" in line]
    assert line.startswith("warning: 60 of 240 events (25.0%) of valid and test")


def test_what_was_kept_back_stays_so_in_the_refresh_after(ingest: Ingest) -> None:
    """The weights of the first model live on in the second, and those events in neither's train."""
    first = ingest(_files(_events(1000, 500)), split="time")
    second = ingest(_files(_events(200, 0), _events(1000, 500)), split="time", base=first)
    third = ingest(_files(_events(200, 0), _events(1010, 500)), split="time", base=second)
    held_out = _split(third)[_split(third).isin(["valid", "test"])]
    assert (_split(first).reindex(held_out.index) != "train").all()
    assert third.counts[KNOWN] > 0


@pytest.mark.parametrize("split", ["time", "leave-one-out"])
def test_a_shop_that_grows_loses_no_target(ingest: Ingest, split: str) -> None:
    before = ingest(_files(_events(1000, 500)), split=split)
    more = _files(_events(1200, 500))
    refreshed, anew = ingest(more, split=split, base=before), ingest(more, split=split)
    assert refreshed.counts[KNOWN] == 0
    assert refreshed.table("interactions").equals(anew.table("interactions"))
    same = ingest(_files(_events(1000, 500)), split=split, base=before)
    assert same.table("interactions").equals(before.table("interactions"))


def test_an_event_that_is_gone_moves_no_target_back(ingest: Ingest) -> None:
    """Leave-one-out: without its last event a user's valid event would be test, and its last train event valid."""
    before = ingest(_files(_events(250, 500)))
    rows = _events(250, 500).splitlines(keepends=True)
    refreshed = ingest(_files(*rows[:-5]), base=before)
    assert refreshed.counts[KNOWN] == 10
    assert refreshed.counts["n_valid_targets"] == refreshed.counts["n_test_targets"] == 45


def test_events_that_stand_there_several_times_stay_targets(ingest: Ingest) -> None:
    mine = (("a", 1), ("b", 2), ("c", 3), ("c", 3))
    files = _files(*(f"u{user},{item},{time}\n" for user in range(9) for item, time in mine))
    before = ingest(files, duplicates="keep")
    refreshed = ingest(files, duplicates="keep", base=before)
    assert np.array_equal(_split(before).to_numpy(), _split(refreshed).to_numpy())


def test_where_no_target_is_left_a_rebuild_is_asked_for(ingest: Ingest) -> None:
    before = ingest(_files(_events(1000, 5000)), split="time")
    with pytest.raises(DataError, match=r"no valid targets are left .* has not learned from: late .* `tsrec run`"):
        ingest(_files(_events(2000, 0), _events(1000, 5000)), split="time", base=before)


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 2), st.sampled_from(SPLITS)), max_size=25
)


@given(ROWS, ROWS, st.integers(1, 9))
def test_parts_of_any_size_find_what_a_plain_search_finds(
    now: list[tuple[int, int, int, str]], before: list[tuple[int, int, int, str]], size: int
) -> None:
    """User 3 of now is another one than user 3 of before; the last rows have a target of each split that stays one."""
    now = sorted(now) + [(4, 0, time, split) for time, split in enumerate(("train", "train", "valid", "test"))]
    user, item, time = (np.array([row[column] for row in now], dtype=np.int32) for column in range(3))
    split = np.array([SPLITS.index(row[3]) for row in now], dtype=np.int8)
    users, items = pd.Index(["u0", "u1", "u2", "new", "own"]), pd.Index(["a", "b"])
    rows = [(f"u{user}", "ab"[item], time, split) for user, item, time, split in sorted(before)]
    parts = [pd.DataFrame(rows[start : start + size], columns=[*EVENT, "split"]) for start in range(0, len(rows), size)]
    kept = without_leaked_targets(Events(user, item, time), split, users, items, parts)
    for number, (one, other, moment, name) in enumerate(now):
        uses = [RANK[use] for *event, use in rows if event == [users[one], items[other], moment]]
        leaked = name in ("valid", "test") and bool(uses) and max(uses) < RANK[name]
        assert SPLITS[kept[number]] == ("history" if leaked else name)
