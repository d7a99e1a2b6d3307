"""Slices part the targets as their names say."""

import numpy as np
import pandas as pd

from tests.plain_histories import build_histories
from tsrec.columns import Split
from tsrec.evaluate.slices import target_slices
from tsrec.histories import Histories


def _histories(users: dict[str, str], last: str = "test") -> Histories:
    """Users by their items, one letter each; the last event is the target, all others are train."""
    rows = [
        (user, item, position, position, last if position == len(items) - 1 else "train")
        for user, items in users.items()
        for position, item in enumerate(items)
    ]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "position", "split"])
    return build_histories(table, pd.Series(list("abcdefgh")))


def test_every_target_falls_into_one_slice_of_each_kind() -> None:
    histories = _histories({"u": "aab", "v": "abcca", "w": "aaaaaaaaaaab", "x": "abcdec", "y": "ah", "z": "abcdefag"})
    events = histories.target_events(Split.TEST)
    slices = target_slices(histories, events, 8)
    for kind in ("history", "items", ("repeats", "new")):
        masks = [mask for name, mask in slices.items() if name.startswith(kind) or (kind == "items" and kind in name)]
        np.testing.assert_array_equal(np.sum(masks, axis=0), 1)


def test_slices_hold_what_they_say() -> None:
    histories = _histories({"u": "aab", "v": "abcca", "w": "aaaaaaaaaaab", "x": "abcdec", "y": "ah", "z": "abcdefag"})
    slices = target_slices(histories, histories.target_events(Split.TEST), 8)
    users = {name: "".join(histories.user_ids[mask]) for name, mask in slices.items()}
    assert users == {
        "all": "uvwxyz",
        "history 1-2": "uy",
        "history 3-5": "vx",
        "history 6-10": "z",
        "history 11+": "w",
        "head items": "vx",  # a and c: the first fifth of six items that have train events, rounded up
        "mid items": "uw",  # b
        "tail items": "",  # d, e, f: nobody's target
        "cold items": "yz",
        "repeats": "vx",
        "new to the user": "uwyz",
    }


def test_a_catalogue_without_train_events_is_cold() -> None:
    histories = _histories({"u": "a", "v": "b"}, last="test")
    slices = target_slices(histories, np.array([0, 1]), 8)
    assert slices["cold items"].all()
    assert not slices["head items"].any()
