"""The stage reads its parents' tables and writes the semantics and the rows, whatever the order of the items."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.config import Config, SaInitConfig, SaInitSettings
from tsrec.errors import DataError
from tsrec.sa_init import STAGE
from tsrec.sa_init.pretrained_rows import read_input_embeddings
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter


def artifact(store: ArtifactStore, stage: str, tables: dict[str, pa.Table], **files: object) -> Artifact:
    def make(out: ArtifactWriter) -> None:
        for name, table in tables.items():
            out.write_table(name, table)
        for name, value in files.items():
            out.write_json(name, value)

    return store.build(key_of(stage), make)


@pytest.fixture
def parents(tiny_backbone: Path, tmp_path: Path) -> dict[str, Artifact]:
    store = ArtifactStore(tmp_path / "store")
    items = ["i1", "i2", "i3"]
    codes = pa.array([[0, 0], [0, 1], [1, 1]], pa.list_(pa.int16()))
    keywords = pa.array([["screws", "steel"], ["strong glue", "wood"], ["epoxy", "wood"]])

    def copy_model(out: ArtifactWriter) -> None:
        for file in tiny_backbone.iterdir():
            (out.directory("model") / file.name).write_bytes(file.read_bytes())

    # The keywords are in another order than the items: tables are joined by item_id.
    tables = {
        "ingest": {"items": pa.table({C.ITEM: items, C.TITLE: ["Glue", "Epoxy", "Screws"]})},
        "keywords": {"item_keywords": pa.table({C.ITEM: ["i3", "i1", "i2"], C.KEYWORDS: keywords})},
        "sids": {"item_sids": pa.table({C.ITEM: items, C.CODES: codes})},
    }
    made = {stage: artifact(store, stage, of_stage, sid_space={"sizes": [3, 2]}) for stage, of_stage in tables.items()}
    return made | {"backbone": store.build(key_of("backbone"), copy_model)}


def test_both_tables_cover_every_token_in_flat_order(parents: dict[str, Artifact], tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "result")
    settings = SaInitSettings(n_keywords=2, finetune_seed=1)
    result = store.build(key_of("sa_init"), lambda out: STAGE.run(settings, parents, out))
    semantics, rows = result.frame("token_semantics"), result.frame("token_embeddings")
    tokens = ["<a_0>", "<a_1>", "<a_2>", "<b_0>", "<b_1>"]
    assert semantics[C.TOKEN].tolist() == rows[C.TOKEN].tolist() == tokens
    assert semantics[C.N_ITEMS].tolist() == [2, 1, 0, 1, 2]
    assert set(semantics[C.KEYWORDS][1]) == {"screws", "steel"}
    assert [list(keywords) for keywords in rows[C.KEYWORDS]] == [list(keywords) for keywords in semantics[C.KEYWORDS]]
    matrix = result.matrix("token_embeddings", C.EMBEDDING)
    assert matrix.shape == (5, 32)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 0.5, rtol=1e-5)
    assert result.counts["n_tokens_in_use"] == 4
    assert result.counts["n_rows_random"] == 1
    assert result.counts["n_items_without_keywords"] == 0
    units = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    nearest = [max(units[row] @ units[other] for other in range(5) if other != row) for row in range(5)]
    assert result.counts["nearest_cosine"] == pytest.approx(np.median(nearest), abs=1e-5)


def test_imported_semantics_need_no_keywords(parents: dict[str, Artifact], tmp_path: Path) -> None:
    entries = [{"token": t, "description": f"About {t}.", "keywords": ["glue"]} for t in ("<a_0>", "<a_1>", "<b_0>")]
    path = tmp_path / "semantics.json"
    path.write_text(json.dumps(entries))
    config = Config(sa_init=SaInitConfig(import_file=str(path)))
    assert STAGE.parents(config) == ("sids", "backbone")
    section = STAGE.config(config)
    assert STAGE.raw_inputs(section) == {"import_file": path}
    wanted = {name: parents[name] for name in STAGE.parents(config)}
    with pytest.raises(DataError, match="no entry for <b_1>"):
        STAGE.run(section, wanted, ArtifactWriter(tmp_path))
    path.write_text(json.dumps([*entries, {"token": "<b_1>", "description": "", "keywords": ["screws"]}]))
    STAGE.run(section, wanted, out := ArtifactWriter(tmp_path))
    assert out.counts["n_tokens_in_use_without_keywords"] == 0


def test_a_missing_import_is_noticed_when_planning(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        STAGE.raw_inputs(SaInitConfig(import_file=str(tmp_path / "none.json")))


def test_no_keywords_at_all_is_an_error(parents: dict[str, Artifact], tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "empty")
    table = pa.table({C.ITEM: ["i1"], C.KEYWORDS: pa.array([[]], pa.list_(pa.string()))})
    parents["keywords"] = artifact(store, "keywords", {"item_keywords": table})
    with pytest.raises(DataError, match="no item has a keyword"):
        STAGE.run(SaInitSettings(finetune_seed=1), parents, ArtifactWriter(tmp_path))


def test_embeddings_are_read_alone_from_one_file_shards_or_another_architecture(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    expected = load_file(tiny_backbone / "model.safetensors")["model.embed_tokens.weight"].numpy()
    np.testing.assert_array_equal(read_input_embeddings(tiny_backbone), expected)
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone)
    model.to(torch.bfloat16).save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert (tmp_path / "shards" / "model.safetensors.index.json").exists()
    rows = read_input_embeddings(tmp_path / "shards")
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected, rtol=1e-2)
    other = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1, n_positions=16))
    other.save_pretrained(tmp_path / "gpt2")
    np.testing.assert_array_equal(
        read_input_embeddings(tmp_path / "gpt2"), other.transformer.wte.weight.detach().numpy()
    )
