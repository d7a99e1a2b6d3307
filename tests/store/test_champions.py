"""The champion's pointer: what counts after which moves, here and in a remote, and what it keeps from collection."""

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keys import key_of
from tsrec.errors import ArtifactError
from tsrec.store import ArtifactStore, champions
from tsrec.store.champions import Move, best_of, champion_of, champion_stack, moves_of, promote, roll_back
from tsrec.store.gc import collect, find_garbage
from tsrec.store.manifest import base_role
from tsrec.store.notes import remove_note, write_note
from tsrec.store.remote import RemoteMirror

MODELS = ("f1", "f2", "f3", "f4", "f5")


def _models(store: ArtifactStore) -> None:
    for number, model in enumerate(MODELS, start=1):
        extended = {base_role("ingest"): f"i{number - 1}"} if number > 1 else {}
        for key in (
            key_of("ingest", f"i{number}", "shop", **extended),
            key_of("fuse", model, "shop", ingest=f"i{number}"),
            key_of("report", f"r{number}", "shop", fuse=model),
        ):
            store.build(key, lambda out: out.write_json("content", 1))


@pytest.fixture(params=["folder", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    root = str(tmp_path / "store") if request.param == "folder" else f"memory://{uuid4().hex}"
    opened = ArtifactStore(root)
    _models(opened)
    return opened


def test_moves_are_kept_in_order_and_the_last_one_counts(store: ArtifactStore) -> None:
    assert champion_of(store, "shop") is None
    promote(store, "shop", "f1", "the first", {"ndcg@10": 0.1})
    promote(store, "shop", "f2", "better", {"ndcg@10": 0.2})
    back = roll_back(store, "shop", "users complained")
    assert (back.previous, back.to, back.metrics) == ("f2", "f1", {"ndcg@10": 0.1})
    assert [(move.kind, move.previous, move.to, move.why) for move in moves_of(store, "shop")] == [
        ("promote", None, "f1", "the first"),
        ("promote", "f1", "f2", "better"),
        ("rollback", "f2", "f1", "users complained"),
    ]
    assert champion_of(store, "shop") == "f1" and champion_of(store, "sho") is None
    with pytest.raises(ArtifactError, match="no earlier champion"):
        roll_back(store, "shop", "again")


def test_there_is_no_way_back_to_what_is_gone(store: ArtifactStore) -> None:
    promote(store, "shop", "f1", "", {})
    promote(store, "shop", "f2", "", {})
    store.delete(key_of("fuse", "f1", "shop", ingest="i1"))
    with pytest.raises(ArtifactError, match="f1, is gone"):
        roll_back(store, "shop", "")
    assert champion_of(store, "shop") == "f2"


def test_collection_keeps_the_champion_and_two_before_it_but_not_what_they_only_extended(store: ArtifactStore) -> None:
    for model in MODELS[:4]:
        promote(store, "shop", model, "", {})
    collect(store, find_garbage(store, keep=1))
    left = {artifact.fingerprint for artifact in store.list()}
    assert left == {"i2", "f2", "i3", "f3", "i4", "f4", "i5", "f5", "r5"}  # r5: the newest report


def test_the_best_champion_is_remembered_and_kept_until_a_rebuild(store: ArtifactStore) -> None:
    assert best_of(moves_of(store, "shop")) is None
    promote(store, "shop", "f1", "the first", {})
    for model in MODELS[1:]:
        promote(store, "shop", model, "not worse", {}, best="f1")
    assert best_of(moves_of(store, "shop")) == "f1"
    collect(store, find_garbage(store, keep=1))
    left = {artifact.fingerprint for artifact in store.list()}
    assert {"i1", "f1"} <= left and "f2" not in left
    promote(store, "shop", "f5", "a rebuild", {})
    assert best_of(moves_of(store, "shop")) is None
    roll_back(store, "shop", "")
    assert (champion_of(store, "shop"), best_of(moves_of(store, "shop"))) == ("f4", "f1")


def test_a_move_that_cannot_be_read_keeps_its_data_set(store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    move = promote(store, "shop", "f1", "", {})
    promote(store, "shop", "f2", "", {})
    if isinstance(store.remote, RemoteMirror):
        store.remote.write_note(move.path, "")
    else:
        (store.root / move.path).write_bytes(b"")
    assert champion_of(store, "shop") == "f2"
    assert "not a readable move" in caplog.text
    assert find_garbage(store, keep=1).artifacts == []


@pytest.mark.parametrize("other", ["f1", "f2", "f3"])
def test_two_that_move_at_once_both_stay_in_one_order(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Another process promotes after this one has chosen its number, and before it has written."""
    promote(store, "shop", "f1", "the first", {})
    made = []

    def write_second(store: ArtifactStore, relative: str, text: str) -> None:
        monkeypatch.undo()
        made.append(promote(store, "shop", other, "was quicker", {}))
        write_note(store, relative, text)

    monkeypatch.setattr(champions, "write_note", write_second)
    made.append(promote(store, "shop", "f2", "was slower", {}))
    moves = moves_of(store, "shop")
    assert {move.why for move in moves} == {"the first", "was quicker", "was slower"}
    assert [move.previous for move in moves] == [None, *(move.to for move in moves[:-1])]
    assert champion_of(store, "shop") == moves[-1].to
    assert made[-1] in moves
    assert promote(store, "shop", "f4", "later", {}) == moves_of(store, "shop")[-1]


def test_moves_that_older_versions_wrote_are_read(store: ArtifactStore) -> None:
    old = promote(store, "shop", "f1", "old", {}).model_copy(update={"mark": "", "when": "2026-11-25T03:00:00+00:00"})
    remove_note(store, moves_of(store, "shop")[0].path)
    write_note(store, ".champions/shop/000001-f1.json", old.model_dump_json(exclude={"mark"}))
    promote(store, "shop", "f2", "new", {})
    assert [move.why for move in moves_of(store, "shop")] == ["old", "new"]


@given(st.lists(st.one_of(st.sampled_from(MODELS), st.none()), max_size=12))
def test_rolling_back_undoes_promotions_one_by_one(steps: list[str | None]) -> None:
    """Against the obviously right one: a stack of promoted models, of which equal neighbours are one."""
    expected: list[str] = []
    moves: list[Move] = []
    for number, model in enumerate(steps):
        if model is None and len(expected) < 2:
            continue
        if model is None:
            expected.pop()
        elif expected[-1:] != [model]:
            expected.append(model)
        kind = "rollback" if model is None else "promote"
        fixed = {"dataset": "shop", "previous": None, "why": "", "metrics": {}, "when": ""}
        moves.append(Move.model_validate({**fixed, "number": number, "kind": kind, "to": expected[-1]}))
    assert champion_stack(moves) == expected
