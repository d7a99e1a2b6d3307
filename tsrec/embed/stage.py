"""The embed stage: `items` in, `item_embeddings` out; shard by shard, so that a killed run goes on where it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from sentence_transformers import SentenceTransformer

from tsrec.columns import Columns as C
from tsrec.embed.encoder import batch_texts, count_truncated, encode, load_encoder
from tsrec.embed.settings import EmbedSettings
from tsrec.embed.vector_checks import check_vectors
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter, base_role, matrix_of
from tsrec.store.shards import Shard, tables_of
from tsrec.store.unchanged_rows import unchanged_rows

_BASE = base_role("embed")
_BATCH_ITEMS = 64  # encoded at once
_SHARD_BATCHES = 8


@dataclass(frozen=True)
class _Encoding:
    """Which of N items are encoded, and where their vectors are.

    `known` (N,): the base's row of every item whose vector is reused, else -1; `new` (M,): the items that are encoded;
    `places` (M,): the row of each among the vectors of all `shards`.
    """

    items: pd.DataFrame
    encoder: SentenceTransformer
    known: np.ndarray
    new: np.ndarray
    places: np.ndarray
    shards: Sequence[Shard]


def run(config: EmbedSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_embeddings`, one row per item in the order of `items`; what a base holds is not encoded again."""
    encoding = _encoding(config, parents, out)
    items, encoder, known, new = encoding.items, encoding.encoder, encoding.known, encoding.new
    texts = items[C.TEXT].tolist()
    tables = tables_of(encoding.shards, "embedding", "text")
    parts = [matrix_of(pa.concat_tables(tables), C.EMBEDDING)[encoding.places]] if tables else []
    if _BASE in parents:
        parts.insert(0, parents[_BASE].matrix("item_embeddings", C.EMBEDDING)[known[known >= 0]])
    order = np.concatenate([np.flatnonzero(known >= 0), new])
    vectors = np.concatenate(parts)[np.argsort(order)]
    check_vectors(vectors, texts, items[C.ITEM].tolist(), config.encoder)
    embeddings = pa.array(list(vectors), type=pa.list_(pa.float32()))
    out.write_table("item_embeddings", pa.table({C.ITEM: pa.array(items[C.ITEM]), C.EMBEDDING: embeddings}))
    if _BASE in parents:
        out.count(n_items_known=len(items) - len(new))
    limit = encoder.max_seq_length
    out.count(
        n_dimensions=vectors.shape[1],
        max_tokens_read=limit if isinstance(limit, int) else 0,  # 0: no limit
        n_truncated=count_truncated(encoder, texts),
    )


def shards(config: EmbedSettings, parents: Parents, out: ArtifactWriter) -> Sequence[Shard]:
    """The vectors that are encoded, as shards."""
    return _encoding(config, parents, out).shards


def _encoding(config: EmbedSettings, parents: Parents, out: ArtifactWriter) -> _Encoding:
    items = parents["ingest"].frame("items", [C.ITEM, C.TEXT])
    known = np.full(len(items), -1)
    if _BASE in parents:
        known = unchanged_rows(items, parents[base_role("ingest")].frame("items", [C.ITEM, C.TEXT]), (C.TEXT,))
    new = np.flatnonzero(known < 0)
    encoder = load_encoder(config.encoder, config.device)
    batches, places = batch_texts(items[C.TEXT].iloc[new].tolist(), _BATCH_ITEMS)
    shards = []
    for start in range(0, len(batches), _SHARD_BATCHES):
        some = batches[start : start + _SHARD_BATCHES]
        path = out.work / f"{start}-{start + len(some)}.parquet"
        shards.append(Shard(path, partial(_encode, encoder, some), sum(map(len, some))))
    return _Encoding(items, encoder, known, new, places, shards)


def _encode(encoder: SentenceTransformer, batches: list[list[str]]) -> pa.Table:
    return pa.table({C.EMBEDDING: pa.array(list(encode(encoder, batches)), type=pa.list_(pa.float32()))})
