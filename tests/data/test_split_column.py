"""Given splits: nothing is learned from, or chosen on, in sight of what comes later."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import Ingest, with_log
from tsrec.data.data_quality import data_quality_lines
from tsrec.data.events import SPLITS, Events
from tsrec.data.splitting import as_given
from tsrec.errors import DataError

HEADER = "user_id,item_id,timestamp,split\n"
MARKS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(SPLITS)), min_size=1, max_size=30)


def _log(*users: str) -> str:
    """Each user's splits by their first letters, in order of time."""
    words = {split[0] if split != "test" else "x": split for split in SPLITS}
    rows = [f"u{n},{'abc'[t % 3]},{t},{words[mark]}\n" for n, user in enumerate(users) for t, mark in enumerate(user)]
    return HEADER + "".join(rows)


@given(MARKS)
def test_no_target_has_a_later_split_in_its_history(rows: list[tuple[int, str]]) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    users, marks = np.array([user for user, _ in rows]), np.array([SPLITS.index(mark) for _, mark in rows])
    nothing = np.zeros(len(rows))
    split, counts = as_given(Events(users, nothing, nothing, nothing, marks.astype(np.int8)))
    after = [SPLITS[code] for code in split]
    changed = 0
    rank = {"history": 0, "train": 1, "valid": 2, "test": 3}
    for place, (user, mark) in enumerate(rows):
        before = [other for owner, other in rows[:place] if owner == user]
        leaks = mark != "history" and any(rank[other] > rank[mark] for other in before)
        assert after[place] == ("history" if leaks else mark)
        changed += leaks
    assert counts == {"n_splits_set_to_history": changed}


def test_a_few_of_them_become_history_and_are_counted(ingest: Ingest) -> None:
    log = _log("txtvtx", *["tttvx"] * 4)
    artifact = ingest(with_log(log), split="column")
    events = artifact.frame("interactions")
    assert events["split"].tolist()[:6] == ["train", "test", "history", "history", "history", "test"]
    assert artifact.counts["n_splits_set_to_history"] == 3
    assert artifact.counts["n_interactions"] == 26


def test_splits_drawn_at_random_are_read_as_given_and_told_loudly(ingest: Ingest) -> None:
    log = _log("xttvtt", "xttvtx", "ttvxt", "tvtxx")
    artifact = ingest(with_log(log), split="column")
    (line,) = [line for line in data_quality_lines(artifact) if "later split of their user" in line]
    assert line.startswith("warning: 11 of 22 interactions (50.0%)") and "user 'u0': train after valid or test" in line
    assert artifact.counts["n_splits_set_to_history"] == 11


def test_splits_of_one_moment_stand_in_their_order(ingest: Ingest) -> None:
    rows = ["u,a,1,test", "u,b,1,valid", "u,c,1,train", "u,a,0,train", "u,b,0,history"]
    artifact = ingest(with_log(HEADER + "\n".join(rows) + "\n"), split="column")
    assert artifact.frame("interactions")["split"].tolist() == ["history", "train", "train", "valid", "test"]
    assert artifact.counts["n_splits_set_to_history"] == 0


def test_events_of_valid_and_test_without_history_are_counted(ingest: Ingest) -> None:
    artifact = ingest(with_log(_log("ttvx", "x", "vx", "v")), split="column")
    assert artifact.counts["n_test_targets"] == 2
    assert artifact.counts["n_test_events_without_history"] == 1
    assert artifact.counts["n_valid_events_without_history"] == 2
    assert artifact.counts["n_train_targets"] == 1


@pytest.mark.parametrize(
    ("users", "missing"),
    [(["ttx"], "valid"), (["ttv", "x"], "test"), (["tvx"], "train"), (["xttvtt", "xttvtx"], "train and no valid")],
)
def test_a_split_without_targets_is_refused(ingest: Ingest, users: list[str], missing: str) -> None:
    with pytest.raises(DataError, match=rf"ingest\.split=column leaves no {missing} targets"):
        ingest(with_log(_log(*users)), split="column")


def test_users_of_two_events_need_another_split(ingest: Ingest) -> None:
    rows = [f"u{user},{'abc'[(user + event) % 3]},{100 * user + event}\n" for user in range(30) for event in (0, 1)]
    files = with_log("user_id,item_id,timestamp\n" + "".join(rows))
    with pytest.raises(DataError, match=r"leaves no valid and no test targets.*longest has 2.* set ingest\.split=time"):
        ingest(files)
    counts = ingest(files, split="time").counts
    assert (counts["n_train_targets"], counts["n_valid_targets"], counts["n_test_targets"]) == (24, 3, 3)


def test_users_of_one_event_are_helped_by_no_split(ingest: Ingest) -> None:
    files = with_log("user_id,item_id,timestamp\n" + "u,a,1\nv,b,2\nw,a,3\n")
    with pytest.raises(DataError, match="more events of each user are needed"):
        ingest(files)
