"""The embed stage: `items` in, `item_embeddings` out; shard by shard, so that a killed run goes on where it was."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from sentence_transformers import SentenceTransformer

from tsrec.columns import Columns as C
from tsrec.config.sids import AUTO_ENCODER, MINILM, STATIC_ENCODER, STATIC_ITEMS
from tsrec.embed.encoder import (
    TOKEN_VECTORS,
    batch_texts,
    encode,
    encoder_of,
    load_encoder,
    token_counts,
    wheel_folder,
)
from tsrec.embed.settings import EmbedSettings
from tsrec.embed.static_encoder import distill, static_encoder
from tsrec.embed.vector_checks import check_vectors
from tsrec.machine.devices import resolve_precision
from tsrec.sid.vectors import list_column
from tsrec.stage import Parents, Sharded
from tsrec.store import ArtifactWriter, base_role, matrix_of
from tsrec.store.shards import Shard, tables_of
from tsrec.store.unchanged_rows import unchanged_rows
from tsrec.store.work_files import kept_table

_BASE = base_role("embed")
_BATCH_ITEMS = 64  # encoded at once
_STATIC_BATCH_ITEMS = 1024
_SHARD_BATCHES = 8
_LARGE = 20_000  # items from which speed counts more than the same bits on every machine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Encoding:
    """Which of N items are encoded, and where their vectors are.

    `known` (N,): the base's row of every item whose vector is reused, else -1; `new` (M,): the items that are encoded;
    `places` (M,): the row of each among the vectors of all `shards`. `token_vectors`: what a static encoder is made of.
    """

    items: pd.DataFrame
    encoder: SentenceTransformer
    token_vectors: pa.Table | None
    n_truncated: int
    known: np.ndarray
    new: np.ndarray
    places: np.ndarray
    shards: Sequence[Shard]


def run(config: EmbedSettings, parents: Parents, out: ArtifactWriter) -> Sharded:
    """Write `item_embeddings`, one row per item in the order of `items`; what a base holds is not encoded again."""
    encoding = _encoding(config, parents, out)
    return Sharded(encoding.shards, partial(_write, encoding, config, parents, out))


def _write(encoding: _Encoding, config: EmbedSettings, parents: Parents, out: ArtifactWriter) -> None:
    items, known, new = encoding.items, encoding.known, encoding.new
    tables = tables_of(encoding.shards, "embedding", "text")
    if _BASE in parents:
        earlier = parents[_BASE].matrix("item_embeddings", C.EMBEDDING)
        out.count(n_items_known=len(items) - len(new))
    else:
        earlier = matrix_of(tables[0], C.EMBEDDING)[:0]
    vectors = np.empty((len(items), earlier.shape[1]), dtype=np.float32)
    vectors[known >= 0] = earlier[known[known >= 0]]
    by_place = np.argsort(encoding.places, kind="stable")
    places, start = encoding.places[by_place], 0
    for table in tables:
        first, last = np.searchsorted(places, [start, start + len(table)])
        vectors[new[by_place[first:last]]] = matrix_of(table, C.EMBEDDING)[places[first:last] - start]
        start += len(table)
    check_vectors(vectors, items[C.TEXT].tolist(), items[C.ITEM].tolist(), config.encoder)
    out.write_table("item_embeddings", pa.table({C.ITEM: pa.array(items[C.ITEM]), C.EMBEDDING: list_column(vectors)}))
    if encoding.token_vectors:
        out.write_table(TOKEN_VECTORS, encoding.token_vectors)
    limit = encoding.encoder.max_seq_length
    out.count(
        n_dimensions=vectors.shape[1],
        max_tokens_read=limit if isinstance(limit, int) else 0,  # 0: no limit
        n_truncated=encoding.n_truncated,
    )


def _encoding(config: EmbedSettings, parents: Parents, out: ArtifactWriter) -> _Encoding:
    items = parents["ingest"].frame("items", [C.ITEM, C.TEXT])
    known = np.full(len(items), -1)
    if _BASE in parents:
        known = unchanged_rows(items, parents[base_role("ingest")].frame("items", [C.ITEM, C.TEXT]), (C.TEXT,))
    new = np.flatnonzero(known < 0)
    encoder, token_vectors = _encoder(config, items[C.TEXT].tolist(), parents, out)
    n_tokens, is_large = token_counts(encoder, items[C.TEXT].tolist()), len(items) > _LARGE
    # Small catalogues keep the batches and the precision that they always had, and so the very same vectors.
    sizes = items[C.TEXT].str.len().to_numpy() if n_tokens is None or not is_large else n_tokens
    batch_items = _BATCH_ITEMS if token_vectors is None else _STATIC_BATCH_ITEMS
    batches, places = batch_texts(items[C.TEXT].iloc[new].tolist(), sizes[new], batch_items)
    bfloat16 = config.precision != "auto" or is_large
    bfloat16 &= resolve_precision(config.precision, encoder.device) == torch.bfloat16
    shards = []
    for start in range(0, len(batches), _SHARD_BATCHES):
        some = batches[start : start + _SHARD_BATCHES]
        path = out.work / f"{start}-{start + len(some)}.parquet"
        shards.append(Shard(path, partial(_encode, encoder, some, bfloat16=bfloat16), sum(map(len, some))))
    n_truncated = 0 if n_tokens is None else int((n_tokens > encoder.max_seq_length).sum())
    return _Encoding(items, encoder, token_vectors, n_truncated, known, new, places, shards)


def _encoder(
    config: EmbedSettings, texts: list[str], parents: Parents, out: ArtifactWriter
) -> tuple[SentenceTransformer, pa.Table | None]:
    """The encoder of N texts; of a static one, the vectors of its tokens, too. A refresh goes on with its base's."""
    base, is_static = parents.get(_BASE), config.encoder == STATIC_ENCODER
    if base and base.has(TOKEN_VECTORS):
        return encoder_of(base), base.table(TOKEN_VECTORS)
    if config.encoder == AUTO_ENCODER and not base:
        is_static = len(texts) > STATIC_ITEMS
        name, relation = (STATIC_ENCODER, "more than") if is_static else (MINILM, "not more than")
        logger.info("embed.encoder=auto is %s: %d items are %s %d", name, len(texts), relation, STATIC_ITEMS)
    encoder = load_encoder(config.encoder, config.device)
    if not is_static:
        return encoder, None
    folder = wheel_folder(MINILM)
    make = partial(_token_vectors, encoder, folder, texts)
    table = kept_table(out.work / f"{TOKEN_VECTORS}.parquet", make)
    return static_encoder(folder, matrix_of(table, C.EMBEDDING)), table


def _token_vectors(encoder: SentenceTransformer, folder: Path, texts: list[str]) -> pa.Table:
    return pa.table({C.EMBEDDING: list_column(distill(encoder, folder, texts))})


def _encode(encoder: SentenceTransformer, batches: list[list[str]], *, bfloat16: bool) -> pa.Table:
    return pa.table({C.EMBEDDING: list_column(encode(encoder, batches, bfloat16=bfloat16))})
