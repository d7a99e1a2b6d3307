"""A user's events are found without reading the table again, wherever batches of it cut them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.keys import key_of
from tsrec.errors import ArtifactError
from tsrec.serving import user_histories
from tsrec.serving.user_histories import UserHistories
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

USERS = {"": ["i1"], "U1": ["i1", "i2", "i1", "i3"], "U10": ["i2"], "U2": ["i3"] * 7, "é": ["i2", "i1"], "𝄞": ["i1"]}


def _ingest(root: Path, users: list[tuple[str, str]]) -> Artifact:
    def write(out: ArtifactWriter) -> None:
        out.write_table("items", pa.table({"item_id": ["i1", "i2", "i3"]}))
        columns = list(zip(*users, strict=True)) or [[], []]
        table = {
            name: pa.array(values, pa.string()) for name, values in zip(("user_id", "item_id"), columns, strict=True)
        }
        out.write_table("interactions", pa.table(table))

    return ArtifactStore(root).build(key_of("ingest", "abc123", "shop"), write)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 1000])
def test_every_users_events_are_found(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_histories, "_ROWS", rows)
    found = UserHistories.of(_ingest(tmp_path, [(user, item) for user, items in USERS.items() for item in items]))
    for user, items in USERS.items():
        assert [f"i{number + 1}" for number in found.of_user(user)] == items
    for nobody in ("U", "U11", "u1", "zzz", "\U0010ffff"):
        assert not len(found.of_user(nobody))


def test_users_by_the_beginning_of_their_ids(tmp_path: Path) -> None:
    found = UserHistories.of(_ingest(tmp_path, [(user, item) for user, items in USERS.items() for item in items]))
    assert found.beginning("", 100) == [(user, len(items)) for user, items in USERS.items()]
    assert found.beginning("U1", 100) == [("U1", 4), ("U10", 1)]
    assert found.beginning("U", 2) == [("U1", 4), ("U10", 1)]
    assert found.beginning("V", 5) == []


def test_no_events_at_all(tmp_path: Path) -> None:
    assert not len(UserHistories.of(_ingest(tmp_path, [])).of_user("U1"))


def test_a_table_in_another_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="do not lie user by user; run ingest again"):
        UserHistories.of(_ingest(tmp_path, [("b", "i1"), ("a", "i1"), ("b", "i2")]))


def test_the_items_are_numbers_of_the_items_table(tmp_path: Path) -> None:
    found = UserHistories.of(_ingest(tmp_path, [("a", "i3"), ("a", "i1")]))
    assert found.of_user("a").dtype == np.int32 and found.of_user("a").tolist() == [2, 0]
