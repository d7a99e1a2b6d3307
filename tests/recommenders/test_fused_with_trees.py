"""Trees from the fuse stage to the list and the report: fitted where they help, read by whoever opens the artifact."""

import json
import random
import shutil
import weakref
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.tiny_shop import settings_of, write_shop
from tsrec import pipeline
from tsrec.columns import Split
from tsrec.config import Config, load_config, with_overrides
from tsrec.errors import ArtifactError
from tsrec.recommenders import candidates, fuse_stage, fusion_gate, trees
from tsrec.recommenders.candidates import (
    BlockWriter,
    StoredLists,
    concatenate_lists,
    lists_from_table,
    lists_to_table,
)
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import Fusion, open_gate
from tsrec.recommenders.fusion_gate import Gate, new_gate, with_target_in_pool
from tsrec.recommenders.gate_fitting import Gates, fit_gates, half_of_users
from tsrec.recommenders.pool import Pool
from tsrec.recommenders.ranking import Ranked
from tsrec.recommenders.recommender import Recommender
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import select_targets
from tsrec.store import Artifact, ArtifactKey, ArtifactStore, ArtifactWriter


@pytest.fixture(scope="module")
def config(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The shop with other people: those with few events end with what is popular, those with many stay with their kind.
    No weighted sum knows how long a history is."""
    folder = tmp_path_factory.mktemp("habits")
    write_shop(folder)
    moments = random.Random(3)
    lines = ["user_id,item_id,timestamp"]
    for user in range(200):
        n_events = moments.choice([4, 12])
        items = [(user % 6) + 6 * moments.randrange(8) for _ in range(n_events)]
        if n_events == 4:
            items[2:] = moments.sample(range(3), 2)
        lines += [f"u{user},i{item},{time}" for time, item in enumerate(items)]
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    quick = ["members.methods=[popular, transitions]", "finetune.epochs=1", "decode.beams=10", "fuse.trees=60"]
    quick += [f"store={folder / 'store'}"]
    return load_config(None, [*settings_of(folder, tiny_backbone), *quick])


@pytest.fixture(scope="module")
def artifacts(config: Config) -> dict[str, Artifact]:
    return pipeline.run(config)


def test_the_fusion_with_trees_is_ahead_of_the_weights_alone(artifacts: dict[str, Artifact], config: Config) -> None:
    assert 0 < artifacts["fuse"].counts["n_trees"] <= config.fuse.trees
    plain = pipeline.run(with_overrides(config, ["fuse.trees=0"]))
    assert plain["fuse"].counts["n_trees"] == 0 and not plain["fuse"].has("trees.json")
    assert _ndcg(artifacts) > _ndcg(plain) + 0.02


def test_whoever_opens_the_artifact_has_the_trees(artifacts: dict[str, Artifact], config: Config) -> None:
    recommender = Recommender.from_artifact(*pipeline.find_finished(config))
    table = artifacts["fuse"].frame("fused")
    table = table[table["split"] == "test"]
    events = artifacts["ingest"].frame("interactions")
    for row in table.head(40).itertuples(index=False):
        past = events[(events["user_id"] == row.user_id) & (events["position"] < row.position)]["item_id"].tolist()
        found = recommender.recommend([past], k=10)[0]
        assert [item.score for item in found] == pytest.approx(row.scores[:10].tolist(), abs=1e-3)


@pytest.fixture(scope="module")
def fusion(artifacts: dict[str, Artifact], config: Config) -> Fusion:
    catalogue, histories = read_catalogue(artifacts["ingest"])
    settings = FuseSettings(own=config.fuse, rules=config.recommend)
    return Fusion.read(artifacts, select_targets(histories, config.recommend), catalogue, settings)


@pytest.fixture(scope="module")
def gates(fusion: Fusion) -> Gates:
    return _fitted(fusion)


def _fitted(fusion: Fusion, **bounds: Any) -> Gates:
    left_out = {name: [name] for name in fusion.stored.sources}
    return fit_gates(fusion.stored, fusion.popularity, fusion.config, left_out, **bounds)


def _pools(gate: Gate, fusion: Fusion, rows: np.ndarray) -> tuple[Pool, np.ndarray]:
    """The pool of the targets `rows` that have their item in it, at once and whole; and these items."""
    targets, lists = fusion.stored.targets.take(rows), fusion.stored.read(rows)
    return with_target_in_pool(gate.pool(lists, targets.pasts(), fusion.popularity), targets.items), targets.items


def test_gates_fitted_in_blocks_are_those_fitted_at_once(fusion: Fusion, gates: Gates) -> None:
    targets = fusion.stored.targets
    is_valid, half = targets.is_in_split(Split.VALID), half_of_users(targets, 1)
    start = new_gate(fusion.stored.read(np.flatnonzero(is_valid)), fusion.config.rules.n_candidates)
    masks = (is_valid, is_valid & half, is_valid & ~half)
    for gate, mask in zip((gates.whole, *gates.halves), masks, strict=True):
        pool, items = _pools(start, fusion, np.flatnonzero(mask))
        first = start.fitted([pool], [items])
        second = first.fitted([first.top_pool(pool, items)], [items])
        np.testing.assert_allclose(gate.weights, second.weights, atol=1e-8)


def test_a_gate_without_a_member_is_the_one_fitted_on_the_others_with_as_many_trees(
    fusion: Fusion, gates: Gates
) -> None:
    """No pool here has a hundred items, so that the whole gate's first hundred are all."""
    assert gates.whole.trees is not None
    valid = np.flatnonzero(fusion.stored.targets.is_in_split(Split.VALID))
    for gone, gate in gates.without.items():
        others = tuple(name for name in fusion.stored.sources if name != gone)
        pool, items = _pools(anew := gates.whole.without_members([gone]), fusion, valid)
        assert gate.members == anew.members == others
        np.testing.assert_allclose(gate.weights, anew.fitted([pool], [items]).weights, atol=1e-8)
        assert gate.trees is not None and gate.trees.n_trees == gates.whole.trees.n_trees


def test_a_gate_without_a_member_chooses_its_first_items_without_it(
    fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_gate, "_N_RERANKED", 4)
    valid = np.flatnonzero(fusion.stored.targets.is_in_split(Split.VALID))
    start = new_gate(fusion.stored.read(valid), fusion.config.rules.n_candidates)
    pool, items = _pools(start, fusion, valid)
    whole = start.fitted([pool], [items])
    for gone, gate in _fitted(fusion).without.items():
        first = whole.without_members([gone])
        pool, items = _pools(first, fusion, valid)
        expected = first.fitted([first.top_pool(pool, items)], [items])
        np.testing.assert_allclose(gate.weights, expected.weights, atol=1e-8)


def test_bounds_that_hold_all_targets_change_nothing_and_smaller_ones_draw(fusion: Fusion, gates: Gates) -> None:
    n_valid = int(fusion.stored.targets.is_in_split(Split.VALID).sum())
    same, fewer = _fitted(fusion, max_targets=n_valid), _fitted(fusion, max_targets=n_valid // 2)
    assert same.whole.to_json() == gates.whole.to_json()
    assert same.whole.trees is not None and gates.whole.trees is not None
    assert same.whole.trees.to_json(same.whole.members) == gates.whole.trees.to_json(gates.whole.members)
    assert fewer.whole.to_json() == _fitted(fusion, max_targets=n_valid // 2).whole.to_json()
    assert not np.allclose(fewer.whole.weights, gates.whole.weights, atol=1e-3)


def test_the_second_fit_sees_all_though_the_first_sees_few(fusion: Fusion, gates: Gates) -> None:
    """No pool here has a hundred items: whatever the first fit says, the second sees them all."""
    few = _fitted(fusion, max_values=(1, 16_000_000))
    for own, other in zip((few.whole, *few.halves), (gates.whole, *gates.halves), strict=True):
        np.testing.assert_allclose(own.weights, other.weights, atol=1e-8)


def test_lists_that_are_read_in_blocks_are_those_of_the_table(fusion: Fusion) -> None:
    rows = np.flatnonzero(np.arange(len(fusion.stored.targets.events)) % 3 == 1)
    together = {name: lists_from_table(artifact.table(table)) for name, (artifact, table) in _sources(fusion)}
    found = list(fusion.stored.blocks(rows, size=7))
    assert np.concatenate([block for block, _ in found]).tolist() == rows.tolist()
    assert max(len(block) for block, _ in found) == 7
    for block, lists in found:
        for name, ranked in lists.items():
            width = ranked.items.shape[1]
            assert ranked.items.tolist() == together[name].items[block, :width].tolist()
            assert ranked.scores.tolist() == together[name].scores[block, :width].tolist()


def test_one_gate_at_a_time_has_its_features_and_none_while_its_trees_grow(
    fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[weakref.ref[Pool]] = []
    n_alive: dict[str, list[int]] = {"at the fit": [], "at the trees": []}

    def new_booster(pool: Pool, *arguments: Any) -> Any:
        pools.append(weakref.ref(pool))
        n_alive["at the fit"].append(sum(known() is not None for known in pools))
        booster = trees.new_booster(pool, *arguments)
        made_from[id(booster)] = pools[-1]
        return booster

    def grow_trees(booster: Any, n_trees: int) -> Any:
        n_alive["at the trees"].append(made_from[id(booster)]() is not None)
        return trees.grow_trees(booster, n_trees)

    made_from: dict[int, weakref.ref[Pool]] = {}
    monkeypatch.setattr(fusion_gate, "new_booster", new_booster)
    monkeypatch.setattr(fusion_gate, "grow_trees", grow_trees)
    n_gates = 3 + len(_fitted(fusion).without)
    assert n_alive["at the fit"] == [1] * n_gates
    assert n_alive["at the trees"] == [1] + [0] * (n_gates - 1)  # the whole gate comes first, and alone


def test_a_reader_of_lists_holds_a_part_of_the_file(
    fusion: Fusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_ROW_GROUP", 16)
    monkeypatch.setattr(candidates, "_BLOCK", 8)
    targets, numbers = fusion.stored.targets, np.random.default_rng(1)
    shape = len(targets.events), 2_000
    lists = Ranked(numbers.integers(0, 1 << 30, shape, dtype=np.int32), numbers.random(shape, dtype=np.float32))

    def write(out: ArtifactWriter) -> None:
        with closing(BlockWriter(out, "long")) as table:
            for rows in np.split(np.arange(shape[0]), range(8, shape[0], 8)):
                table.write(lists_to_table(lists.take(rows), targets.take(rows)))

    artifact = ArtifactStore(tmp_path).build(ArtifactKey.from_inputs("invented", "candidates", 1, {}, {}), write)
    stored, before = StoredLists(targets, {"long": (artifact, "long")}), pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in stored.blocks(np.arange(shape[0]), size=8)]
    assert max(held) < artifact.file("long.parquet").stat().st_size / 4


def _sources(fusion: Fusion) -> Iterable[tuple[str, tuple[Artifact, str]]]:
    return fusion.stored.sources.items()


def test_what_some_members_propose_is_a_part_of_the_pool(fusion: Fusion, gates: Gates) -> None:
    rows = np.arange(30)
    lists, targets = fusion.stored.read(rows), fusion.stored.targets.take(rows)
    whole = gates.whole.pool(lists, targets.pasts(), fusion.popularity)
    for gone in gates.whole.members:
        alone = gates.whole.without_members([gone]).pool(lists, targets.pasts(), fusion.popularity)
        part = whole.only_members(gates.whole.keeps([gone]))
        for name in ("rows", "items", "ranks", "features", "n_events"):
            np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))


def test_a_gate_that_weighs_other_features_is_refused(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    before = replace(artifacts["fuse"], path=tmp_path / "before")
    shutil.copytree(artifacts["fuse"].path, before.path)
    assert open_gate(before).members == open_gate(artifacts["fuse"]).members
    content = before.json("gate")
    del content["item"]["recent_popularity"]  # as version 2 wrote it
    (before.path / "gate.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"before.*another version of tsrec; run the pipeline again"):
        open_gate(before)


def test_the_report_says_what_they_look_at(artifacts: dict[str, Artifact]) -> None:
    page = artifacts["report"].file("report.html").read_text(encoding="utf-8")
    assert f"{artifacts['fuse'].counts['n_trees']} boosted trees" in page
    gain = artifacts["fuse"].json("trees")["gain"]
    shown = page.split("by share of the gain:")[1].split("</p>")[0]
    assert shown.split()[0] == max(gain, key=gain.__getitem__).split()[0]
    assert "history_length" in shown


def _ndcg(artifacts: dict[str, Artifact]) -> float:
    metrics = artifacts["evaluate"].frame("metrics").set_index(["slice", "method", "metric", "k"])["value"]
    return float(metrics["all", "fused", "ndcg", 10])


def test_lists_are_read_from_any_target_on(fusion: Fusion) -> None:
    stored, rows = fusion.stored, np.arange(len(fusion.stored.targets.events))
    whole = stored.read(rows)
    for first, end in ((0, 9), (8, 24), (33, 34), (60, len(rows))):
        blocks = list(stored.blocks(rows[first:end], 8))
        assert np.concatenate([block for block, _ in blocks]).tolist() == rows[first:end].tolist()
        for name, ranked in whole.items():
            found = concatenate_lists([lists[name] for _, lists in blocks])
            width = found.items.shape[1]
            assert np.array_equal(found.items, ranked.items[first:end, :width])
            assert np.array_equal(found.scores, ranked.scores[first:end, :width])


@pytest.mark.slow
def test_shards_of_any_size_give_the_same_files(
    artifacts: dict[str, Artifact], config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FuseSettings(own=config.fuse, rules=config.recommend)
    parents = {role: artifacts[role] for role in artifacts["fuse"].manifest.key.parents}
    files = {}
    monkeypatch.setattr(fuse_stage, "_BLOCK", 8)
    for size in (8, 40, 8192):
        monkeypatch.setattr(fuse_stage, "_SHARD", size)
        out = ArtifactWriter(tmp_path / str(size))
        if files:  # the gates are those that the first has fitted: a killed run goes on with them
            shutil.copytree(tmp_path / "8" / "work", out.work, dirs_exist_ok=True)
        fused = fuse_stage.run(settings, parents, out)
        assert len(fused.shards) == -(-artifacts["candidates"].table("popular").num_rows // size)
        fused.write()
        files[size] = {name: entry.sha256 for name, entry in out.entries().items()}
    assert files[8] == files[40] == files[8192]
    assert files[8]["gate.json"] == artifacts["fuse"].manifest.files["gate.json"].sha256
