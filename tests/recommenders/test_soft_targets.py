"""Soft targets: who teaches about a user has never seen that user, and every train target gets a distribution."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys import key_of
from tests.recommenders.conftest import catalogue_of, histories_of, interactions_of, item_ids
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import Config, canonical
from tsrec.errors import DataError
from tsrec.histories import Histories
from tsrec.recommenders import SOFT_TARGETS as STAGE
from tsrec.recommenders.soft_targets import CrossFitted, assign_folds, hold_out_users
from tsrec.recommenders.stage_settings import SoftTargetSettings
from tsrec.recommenders.targets import Targets
from tsrec.store import Artifact, ArtifactStore

N_ITEMS = 20
Users = dict[str, list[tuple[int, str]]]


def _settings(methods: tuple[str, ...], **own: int) -> SoftTargetSettings:
    sections = {
        "finetune": {"distill": {"share": 0.5}},
        "members": {"methods": methods},
        "evaluate": {"baseline": methods[0]},
    }
    settings = STAGE.config(Config.model_validate(sections))
    assert isinstance(settings, SoftTargetSettings)
    return settings.model_copy(update=own)


def _built(folder: Path, users: Users, settings: SoftTargetSettings) -> Artifact:
    store = ArtifactStore(folder)

    def ingest(out: object) -> None:
        out.write_table("items", pa.table({C.ITEM: item_ids(N_ITEMS).tolist()}))
        out.write_table("interactions", interactions_of(users))

    parents = {"ingest": store.build(key_of("ingest"), ingest)}
    return store.build(key_of("soft_targets"), lambda out: STAGE.run(settings, parents, out))


def _random_users(seed: int, n: int = 12) -> Users:
    random = np.random.default_rng(seed)
    return {
        f"u{user:02}": [
            *((int(item), "train") for item in random.integers(0, N_ITEMS, random.integers(2, 7))),
            (int(random.integers(N_ITEMS)), "valid"),
            (int(random.integers(N_ITEMS)), "test"),
        ]
        for user in range(n)
    }


def test_what_only_one_user_did_is_not_taught_about_that_user(tmp_path: Path) -> None:
    users = {
        "a": [(0, "train"), (1, "train")],
        "b": [(0, "train"), (1, "train")],
        "c": [(2, "train"), (3, "train"), (9, "valid")],
        "d": [(4, "train"), (5, "train")],
    }
    rows = _built(tmp_path, users, _settings(("transitions",), folds=4)).table("soft_targets").to_pylist()
    assert [row[C.USER] for row in rows] == ["a", "b", "c", "d"]
    lists = {row[C.USER]: row[C.ITEMS] for row in rows}
    assert lists["a"][0] == lists["b"][0] == 1  # each knows it from the other
    assert 3 not in lists["c"] and 5 not in lists["d"]  # nobody else went there


@pytest.mark.parametrize("seed", range(3))
def test_lists_of_a_fold_know_nothing_that_its_users_did_later(tmp_path: Path, seed: int) -> None:
    methods = ("popular", "transitions", "item-knn")
    found = []
    for changed in (False, True):
        users = _random_users(seed)
        if changed:  # another last train item: what all earlier targets of this user are taught must stay
            last = max(place for place, event in enumerate(users["u03"]) if event[1] == "train")
            users["u03"][last] = ((users["u03"][last][0] + 7) % N_ITEMS, "train")
        histories = histories_of(users, N_ITEMS)
        folder = tmp_path / str(changed)
        folder.mkdir()
        out = type("Out", (), {"work": folder})()
        crossed = CrossFitted.fit(catalogue_of(histories, N_ITEMS), histories, _settings(methods, folds=3), {}, out)
        mine = crossed.fold == crossed.fold[crossed.targets.users == 3][0]
        assert len(set(crossed.targets.users[mine])) == 4
        found.append([crossed.lists[name].take(np.flatnonzero(mine)) for name in methods])
    for before, after in zip(*found, strict=True):
        np.testing.assert_array_equal(before.items, after.items)
        np.testing.assert_array_equal(before.scores, after.scores)


def test_valid_is_not_read(tmp_path: Path) -> None:
    tables = []
    for number, shift in enumerate((0, 3)):
        users = _random_users(8)
        for events in users.values():
            events[-2] = ((events[-2][0] + shift) % N_ITEMS, "valid")
        made = _built(tmp_path / str(number), users, _settings(("popular", "transitions", "item-knn")))
        tables.append(made.table("soft_targets"))
    assert tables[0].equals(tables[1])


def test_every_train_target_gets_probabilities(tmp_path: Path) -> None:
    users = _random_users(5)
    artifact = _built(tmp_path, users, _settings(("popular", "transitions", "item-knn"), items=6))
    histories = histories_of(users, N_ITEMS)
    targets = Targets(histories, histories.target_events(Split.TRAIN))
    table = artifact.table("soft_targets")
    assert table[C.USER].to_pylist() == histories.user_ids[targets.users].tolist()
    assert table[C.POSITION].to_pylist() == histories.positions()[targets.events].tolist()
    for scores in table[C.SCORES].to_pylist():
        assert len(scores) == 6 and scores == sorted(scores, reverse=True)
        assert 0 < np.exp(scores).sum() <= 1 + 1e-5
    counts = artifact.manifest.counts
    assert counts["n_soft_targets"] == counts["n_train_targets"] == len(targets.events)
    among_six = sum(
        item in items for item, items in zip(targets.items.tolist(), table[C.ITEMS].to_pylist(), strict=True)
    )
    assert counts["n_true_among_first_10"] == among_six


def test_more_targets_than_wanted_are_drawn(tmp_path: Path) -> None:
    artifact = _built(tmp_path, _random_users(6, n=60), _settings(("popular",), max_targets=100))
    assert artifact.manifest.counts["n_soft_targets"] == len(artifact.table("soft_targets")) == 100
    assert artifact.manifest.counts["n_train_targets"] > 100


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(2, 6))
def test_users_are_dealt_out_evenly_and_whole(users: list[int], n_folds: int) -> None:
    targets = np.array(users)
    n_users = len(set(users))
    if n_users < 2:
        with pytest.raises(DataError, match="share=0"):
            assign_folds(targets, n_folds)
        return
    fold = assign_folds(targets, n_folds)
    of_user = {user: set(fold[targets == user]) for user in users}
    assert all(len(folds) == 1 for folds in of_user.values())
    sizes = np.bincount([folds.pop() for folds in of_user.values()])
    assert len(sizes) == min(n_folds, n_users) and sizes.max() - sizes.min() <= 1


def test_nothing_of_a_user_who_is_left_out_is_learned_from() -> None:
    histories: Histories = histories_of(_random_users(7), N_ITEMS)
    left = hold_out_users(histories, np.array([2, 2, 5]))
    out = np.isin(histories.users(), [2, 5])
    assert set(left.splits[out]) == {Split.HISTORY.value}
    assert (left.splits[~out] == histories.splits[~out]).all()
    assert (left.items == histories.items).all()


def test_the_share_of_the_llms_targets_changes_no_list() -> None:
    by_share = [
        canonical(STAGE.config(Config.model_validate({"finetune": {"distill": {"share": share}}})))
        for share in (0.1, 0.9)
    ]
    assert by_share[0] == by_share[1]
