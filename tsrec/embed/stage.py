"""The embed stage: `items` in, `item_embeddings` out."""

import numpy as np
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import EmbedConfig
from tsrec.embed.checking import check_vectors
from tsrec.embed.encoder import count_truncated, encode, load_encoder, raw_inputs
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter, base_role
from tsrec.unchanged import unchanged_rows

_BASE = base_role("embed")


def run(config: EmbedConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_embeddings`, one row per item in the order of `items`; what a base holds is not encoded again."""
    items = parents["ingest"].frame("items", [C.ITEM, C.TEXT])
    encoder = load_encoder(config.encoder, config.device)
    texts = items[C.TEXT].tolist()
    known = np.full(len(items), -1)
    if _BASE in parents:
        known = unchanged_rows(items, parents[base_role("ingest")].frame("items", [C.ITEM, C.TEXT]), (C.TEXT,))
    new = np.flatnonzero(known < 0)
    parts = [encode(encoder, [texts[row] for row in new], config.batch_items, config.normalize)] if len(new) else []
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


STAGE = Stage(
    name="embed",
    version=1,
    config=lambda config: config.embed,
    parents=lambda _: ("ingest",),
    run=run,
    raw_inputs=raw_inputs,
    bases=("embed", "ingest"),
)
