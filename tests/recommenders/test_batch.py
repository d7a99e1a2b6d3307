"""Batch recommendations: the lists of `Recommender`, as parts of a folder that a killed call goes on with."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsrec import pipeline
from tsrec.config import BatchRequest, Config
from tsrec.errors import ConfigError, DataError
from tsrec.recommenders.batch import MANIFEST, Batch, recommend_users
from tsrec.recommenders.recommender import Recommender
from tsrec.store import Artifact


def _write(config: Config, folder: Path, **wish: object) -> Batch:
    return recommend_users(*pipeline.find_finished(config), BatchRequest(out=str(folder), **wish))


def _rows(batch: Batch) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(part) for part in batch.parts], ignore_index=True)


def test_every_user_gets_the_list_of_the_door(artifacts: dict[str, Artifact], config: Config, tmp_path: Path) -> None:
    batch = _write(config, tmp_path / "all", k=5, shard_users=16)
    rows = _rows(batch)
    interactions = artifacts["ingest"].frame("interactions")
    histories = interactions.sort_values(["user_id", "position"]).groupby("user_id")["item_id"].apply(list)
    assert len(batch.parts) == int(np.ceil(len(histories) / 16))
    assert batch.counts["n_users"] == len(histories) and batch.counts["n_rows"] == len(rows) == 5 * len(histories)
    door = Recommender.open(config.store, "shop")
    found = door.recommend(histories.tolist(), k=5)
    assert rows["user_id"].tolist() == [user for user in histories.index for _ in range(5)]
    same = [
        [item.item_id for item in mine] == rows[rows["user_id"] == user]["item_id"].tolist()
        for user, mine in zip(histories.index, found, strict=True)
    ]
    assert np.mean(same) > 0.95  # other batches may settle a tie in the last bits otherwise
    assert rows["reason"].str.len().min() > 0


def test_given_users_each_once_and_those_without_events_too(
    artifacts: dict[str, Artifact], config: Config, tmp_path: Path
) -> None:
    (tmp_path / "users.txt").write_text("u7\nstranger\nu3\n\nu7\n", encoding="utf-8")
    batch = _write(config, tmp_path / "some", k=4, users=str(tmp_path / "users.txt"))
    rows = _rows(batch)
    assert rows["user_id"].drop_duplicates().tolist() == ["stranger", "u3", "u7"]
    assert (rows.groupby("user_id")["item_id"].nunique() == 4).all()
    assert batch.counts["n_users_without_history"] == 1 and batch.counts["n_filled_by_popularity"] == 4
    (popular,) = Recommender.open(config.store, "shop", "popular").recommend([[]], k=4)
    stranger = rows[rows["user_id"] == "stranger"]
    assert stranger["item_id"].tolist() == [item.item_id for item in popular]
    assert stranger["score"].isna().all() and not stranger["proposed_by"].map(len).any()
    assert stranger["reason"].str.startswith("popular: ").all()


def test_allowed_denied_and_had(artifacts: dict[str, Artifact], config: Config, tmp_path: Path) -> None:
    (tmp_path / "allow.txt").write_text("\n".join(f"i{item}" for item in range(12)), encoding="utf-8")
    (tmp_path / "deny.txt").write_text("i3\ni4\n", encoding="utf-8")
    lists = {"allow": str(tmp_path / "allow.txt"), "deny": str(tmp_path / "deny.txt")}
    rows = _rows(_write(config, tmp_path / "few", k=48, no_repeats=True, **lists))
    assert set(rows["item_id"]) <= {f"i{item}" for item in range(12)} - {"i3", "i4"}
    interactions = artifacts["ingest"].frame("interactions")
    had = set(zip(interactions["user_id"], interactions["item_id"], strict=True))
    assert not had & set(zip(rows["user_id"], rows["item_id"], strict=True))
    sizes = rows.groupby("user_id").size()
    left = {f"i{item}" for item in range(12)} - {"i3", "i4"}
    for user, size in sizes.items():
        assert size == len(left - {item for owner, item in had if owner == user})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"u1"\n"u2"\n', "2 of 2 ids are not known, e.g. '\"u1\"', which is known as 'u1': the list has them in quot"),
        ("u1,2024-03-01\nu2,2024-03-02\n", "which is known as 'u1': the list has more columns than the id"),
        ("user_id;last_seen\nU1;1\nU2;2\n", "2 of 2 ids are not known, e.g. 'U1;1'; known are such as 'u0'"),
        ("u1.0\nu2.0\nu3\n", "2 of 3 ids are not known, e.g. 'u1.0', which is known as 'u1': the list has them as dec"),
        ("U1\nU2\n", "letters differ in case"),
        ("u01\nx\n", "known are such as 'u0'. Write ids as the data have them, one a line; where new"),
    ],
)
def test_a_list_of_strangers_is_refused_with_the_cause(
    artifacts: dict[str, Artifact], config: Config, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "users.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(message)):
        _write(config, tmp_path / "out", users=str(tmp_path / "users.csv"))
    batch = _write(config, tmp_path / "out", users=str(tmp_path / "users.csv"), max_unknown=1, k=2)
    assert batch.counts["n_users_without_history"] > 0


def test_a_header_is_no_user_and_a_stranger_is_said(
    artifacts: dict[str, Artifact], config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "users.csv").write_text("user_id\nu3\nu7\nstranger\n", encoding="utf-8")
    rows = _rows(_write(config, tmp_path / "out", users=str(tmp_path / "users.csv"), k=2))
    assert rows["user_id"].drop_duplicates().tolist() == ["stranger", "u3", "u7"]
    assert "its first line 'user_id' is no known id and taken for a header" in caplog.text
    assert "1 of 3 ids are not known, e.g. 'stranger'; known are such as 'u0'" in caplog.text


@pytest.mark.parametrize("what", ["allow", "deny"])
def test_lists_of_items_too(
    artifacts: dict[str, Artifact], config: Config, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "items.csv"
    file.write_text('"i1"\n"i2"\ni3\n', encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"{what}: .*2 of 3 ids .* known as 'i1': the list has them in quotation marks"
    ):
        _write(config, tmp_path / "out", **{what: str(file)})
    file.write_text("sku\ni1\ni2\n", encoding="utf-8")
    rows = _rows(_write(config, tmp_path / "out", k=48, **{what: str(file)}))
    assert rows["item_id"].nunique() == {"allow": 2, "deny": 46}[what]
    assert (
        "its first line 'sku' is no known id and taken for a header" in caplog.text and "not known" not in caplog.text
    )


def test_a_killed_call_goes_on_and_a_finished_one_is_found(
    artifacts: dict[str, Artifact], config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _write(config, tmp_path / "whole", k=3, shard_users=16)
    asked: list[int] = []
    recommend = Recommender.recommend

    def killed_at_the_third(self: Recommender, *arguments: object, **options: object) -> object:
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return recommend(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Recommender, "recommend", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        _write(config, tmp_path / "killed", k=3, shard_users=16)
    assert not list((tmp_path / "killed").glob("*.parquet")) and not (tmp_path / "killed" / MANIFEST).exists()
    again = _write(config, tmp_path / "killed", k=3, shard_users=16)
    n_shards = len(whole.parts)
    assert len(asked) == 1 + n_shards  # the two finished shards are not asked for again
    assert [part.read_bytes() for part in again.parts] == [part.read_bytes() for part in whole.parts]
    assert _write(config, tmp_path / "killed", k=3, shard_users=16).counts == whole.counts
    assert len(asked) == 1 + n_shards
    manifest = json.loads((tmp_path / "killed" / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["job"]["model"] == artifacts["fuse"].fingerprint
    moved = again.parts[0].rename(tmp_path / again.parts[0].name)
    manifest["files"][f"../{moved.name}"] = manifest["files"].pop(moved.name)
    (tmp_path / "killed" / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    anew = _write(config, tmp_path / "killed", k=3, shard_users=16)
    assert anew.parts == again.parts, "what lies outside the folder is not taken for a part of it"


def test_what_cannot_be_done_is_said(artifacts: dict[str, Artifact], config: Config, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "other.txt").write_text("no item\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no id"):
        _write(config, tmp_path / "a", users=str(tmp_path / "empty.txt"))
    with pytest.raises(DataError, match="leaves no item of the catalogue"):
        _write(config, tmp_path / "b", allow=str(tmp_path / "other.txt"), max_unknown=1)
    with pytest.raises(DataError, match="no such file"):
        _write(config, tmp_path / "c", users=str(tmp_path / "nobody.txt"))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match="was not written by"):
        _write(config, tmp_path / "d")


def test_a_link_where_shards_are_kept_is_not_followed(
    artifacts: dict[str, Artifact], config: Config, tmp_path: Path
) -> None:
    (tmp_path / "outside" / "precious").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".shards").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match=r"\.shards: a link, where shards are kept"):
        _write(config, tmp_path / "out")
    assert (tmp_path / "outside" / "precious").is_dir()
    (tmp_path / "out" / ".shards").unlink()
    (tmp_path / "out" / ".shards").mkdir()
    (tmp_path / "out" / ".shards" / "no-folder").symlink_to(tmp_path / "outside")
    assert _write(config, tmp_path / "out", k=3).counts["n_users"] > 0
    assert (tmp_path / "outside" / "precious").is_dir()
