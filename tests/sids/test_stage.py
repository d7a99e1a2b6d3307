"""The stage: tables in the order of the items, unique or shared SIDs, imports that need no embeddings."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.config import Config, SidsConfig
from tsrec.errors import CodebookError, DataError
from tsrec.sids import STAGE
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

N_ITEMS = 120
_NO_EVENTS = pa.table(  # so that what is tested here is what texts make
    {C.USER: pa.array([], pa.string()), C.ITEM: pa.array([], pa.string()), C.POSITION: [], C.SPLIT: []}
)


@pytest.fixture
def embeddings() -> np.ndarray:
    """(120, 6) float32 in 6 groups, every tenth vector a copy of the one before, so that SIDs collide."""
    generator = np.random.default_rng(1)
    vectors = np.repeat(generator.normal(size=(6, 6)) * 5, 20, axis=0) + generator.normal(size=(N_ITEMS, 6))
    vectors[9::10] = vectors[8::10]
    return vectors.astype(np.float32)


def _parents(folder: Path, embeddings: np.ndarray) -> dict[str, Artifact]:
    item_ids = [f"i{number:03d}" for number in range(len(embeddings))]
    vectors = pa.array(list(embeddings), type=pa.list_(pa.float32()))
    return {
        "ingest": _build(
            folder, "ingest", items=pa.table({C.ITEM: pa.array(item_ids, pa.string())}), interactions=_NO_EVENTS
        ),
        "embed": _build(folder, "embed", item_embeddings=pa.table({C.ITEM: item_ids, C.EMBEDDING: vectors})),
    }


def _build(folder: Path, stage: str, **tables: pa.Table) -> Artifact:
    def write(out: ArtifactWriter) -> None:
        for name, table in tables.items():
            out.write_table(name, table)

    return ArtifactStore(folder).build(key_of(stage), write)


def _run(folder: Path, parents: Parents, config: SidsConfig) -> Artifact:
    return ArtifactStore(folder / "out").build(key_of("sids"), lambda out: STAGE.run(config, parents, out))


def test_own_sids_are_unique_and_described(tmp_path: Path, embeddings: np.ndarray) -> None:
    parents = _parents(tmp_path, embeddings)
    artifact = _run(tmp_path, parents, SidsConfig(codes_per_level=(6, 8, 30), cooccurrence=0))
    sids = artifact.table("item_sids")
    assert sids[C.ITEM].to_pylist() == parents["ingest"].table("items")[C.ITEM].to_pylist()
    assert sids.schema.field(C.CODES).type == pa.list_(pa.int16())
    codes = artifact.matrix("item_sids", C.CODES)
    assert len(np.unique(codes, axis=0)) == N_ITEMS
    assert artifact.json("sid_space") == {"sizes": [6, 8, 30]}
    assert artifact.counts["imported"] == artifact.counts["n_shared"] == 0
    assert artifact.counts["n_collisions"] >= 24  # 12 pairs of equal items
    assert artifact.counts["n_moved"] >= 12
    assert artifact.frame("codebook_health")["n_codes"].tolist() == [6, 8, 30]
    books = artifact.frame("codebooks")
    assert books.groupby(C.LEVEL).size().tolist() == [6, 8, 30]
    assert artifact.matrix("codebooks", C.CENTROID).shape == (44, 6)


def test_shared_sids_are_an_option_and_counted(tmp_path: Path, embeddings: np.ndarray) -> None:
    artifact = _run(tmp_path, _parents(tmp_path, embeddings), SidsConfig(codes_per_level=(6, 8, 30), unique=False))
    codes = artifact.matrix("item_sids", C.CODES)
    np.testing.assert_array_equal(codes[9::10], codes[8::10])
    assert artifact.counts["n_moved"] == 0
    assert artifact.counts["n_shared"] == artifact.counts["n_collisions"] >= 24


def test_the_same_inputs_give_the_same_files(tmp_path: Path, embeddings: np.ndarray) -> None:
    parents = _parents(tmp_path, embeddings)
    config = SidsConfig(codes_per_level=(6, 8, 30))
    first, again = (_run(tmp_path / name, parents, config) for name in ("first", "again"))
    assert first.manifest.files == again.manifest.files


def test_items_that_are_all_alike_stop_the_run(tmp_path: Path) -> None:
    alike = np.ones((N_ITEMS, 6), dtype=np.float32)
    with pytest.raises(DataError, match=r"all 120 items have the same embedding.*ingest\.text_fields"):
        _run(tmp_path, _parents(tmp_path, alike), SidsConfig())


@pytest.mark.parametrize("n_items", range(2, 33))
@pytest.mark.parametrize("kind", ["spread", "two outliers", "in pairs"])
def test_small_catalogues_get_unique_sids(tmp_path: Path, n_items: int, kind: str) -> None:
    generator = np.random.default_rng(n_items)
    vectors = generator.normal(size=(n_items, 8)).astype(np.float32)
    if kind == "two outliers":
        vectors[2:] = vectors[2:] / 100
    if kind == "in pairs":  # items with the very same text
        vectors[1::2] = vectors[: len(vectors[1::2]) * 2 : 2]
        vectors[0] += 1
    artifact = _run(tmp_path, _parents(tmp_path, vectors), SidsConfig())
    assert len(np.unique(artifact.matrix("item_sids", C.CODES), axis=0)) == n_items


def test_the_advice_of_an_error_works(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
    parents = _parents(tmp_path, vectors)
    settings: dict[str, Any] = {"codes_per_level": (4, 4)}
    with pytest.raises(CodebookError, match="40 items, but 16 SIDs") as error:
        _run(tmp_path, parents, SidsConfig(**settings))
    advised = int(re.search(r"the last of sids\.codes_per_level to (\d+)", str(error.value))[1])  # type: ignore[index]
    _run(tmp_path / "raised", parents, SidsConfig(**{**settings, "codes_per_level": (4, advised)}))
    _run(tmp_path / "shared", parents, SidsConfig(**settings, unique=False))

    vectors[:39] /= 1e4
    uneven = _parents(tmp_path / "uneven", vectors)
    settings = {"codes_per_level": (2, 40), "unique": False}
    with pytest.raises(CodebookError, match=r"sids\.max_largest_cluster=0\.5"):
        _run(tmp_path, uneven, SidsConfig(**settings))
    _run(tmp_path / "allowed", uneven, SidsConfig(**settings, max_largest_cluster=1))


def test_a_single_item_is_refused(tmp_path: Path, embeddings: np.ndarray) -> None:
    with pytest.raises(DataError, match="at least 2 items"):
        _run(tmp_path, _parents(tmp_path, embeddings[:1]), SidsConfig())


def test_imported_sids_are_taken_as_they_are_and_warned_about(
    tmp_path: Path, embeddings: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    parents = _parents(tmp_path, embeddings)
    # One code holds everything at level 1, of 50; ours would be a collapse.
    tokens = {f"i{number:03d}": ["<a_49>", f"<b_{number // 2}>"] for number in range(N_ITEMS)}
    path = tmp_path / "sids.json"
    path.write_text(json.dumps(tokens), encoding="utf-8")
    artifact = _run(tmp_path, {"ingest": parents["ingest"]}, SidsConfig(import_file=str(path)))
    assert artifact.matrix("item_sids", C.CODES)[:3].tolist() == [[49, 0], [49, 0], [49, 1]]
    assert artifact.json("sid_space") == {"sizes": [50, 60]}
    assert artifact.counts == {"imported": 1, "n_collisions": N_ITEMS, "n_moved": 0, "n_shared": N_ITEMS}
    assert not artifact.has("codebooks")
    assert "level 1 uses 1 of 50 codes" in caplog.text
    assert "codebook collapse at level 1" in caplog.text


def test_an_import_needs_no_embeddings_and_its_file_is_fingerprinted(tmp_path: Path) -> None:
    path = tmp_path / "sids.json"
    path.write_text("{}", encoding="utf-8")
    own, imported = Config(dataset="tiny"), Config(dataset="tiny", sids=SidsConfig(import_file=str(path)))
    assert STAGE.parents(own) == ("ingest", "embed")
    assert STAGE.raw_inputs(own.sids) == {}
    assert STAGE.parents(imported) == ("ingest",)
    assert STAGE.raw_inputs(imported.sids) == {"sids": path}
    with pytest.raises(DataError, match=r"sids\.import_file: .*none\.json: no such file"):
        STAGE.raw_inputs(SidsConfig(import_file=str(tmp_path / "none.json")))


def test_a_refresh_keeps_imported_sids_and_their_space(tmp_path: Path, embeddings: np.ndarray) -> None:
    parents = _parents(tmp_path, embeddings[:3])

    def imported(mark: str, sids: dict[str, list[str]], more: Parents) -> Artifact:
        file = tmp_path / f"{mark}.json"
        file.write_text(json.dumps(sids))
        config = SidsConfig(import_file=str(file))
        key = key_of("sids", mark)
        return ArtifactStore(tmp_path / "out").build(key, lambda out: STAGE.run(config, {**parents, **more}, out))

    sids = {"i000": ["<a_1>", "<b_4>"], "i001": ["<a_2>", "<b_0>"], "i002": ["<a_0>", "<b_1>"]}
    base = imported("base", sids, {})
    again = imported("again", {**sids, "i003": ["<a_1>", "<b_1>"]}, {"sids:base": base})
    assert again.json("sid_space") == base.json("sid_space")
    for other in ({**sids, "i001": ["<a_2>", "<b_1>"]}, {**sids, "i001": ["<a_9>", "<b_0>"]}):
        with pytest.raises(CodebookError, match="a refresh keeps them"):
            imported(f"other{len(str(other))}{other['i001'][0][3]}", other, {"sids:base": base})
