"""The embed stage: `items` in, `item_embeddings` out."""

import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import EmbedConfig
from tsrec.embed.checking import check_vectors
from tsrec.embed.encoder import count_truncated, encode, load_encoder, raw_inputs
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter


def run(config: EmbedConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_embeddings`, one row per item in the order of `items`."""
    items = parents["ingest"].frame("items", [C.ITEM, C.TEXT])
    encoder = load_encoder(config.encoder, config.device)
    texts = items[C.TEXT].tolist()
    vectors = encode(encoder, texts, config.batch_items, config.normalize)
    check_vectors(vectors, texts, items[C.ITEM].tolist(), config.encoder)
    embeddings = pa.array(list(vectors), type=pa.list_(pa.float32()))
    out.write_table("item_embeddings", pa.table({C.ITEM: pa.array(items[C.ITEM]), C.EMBEDDING: embeddings}))
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
)
