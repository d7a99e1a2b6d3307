"""The sids stage: quantize or import, settle collisions, judge the codebooks."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import Config, SidsConfig
from tsrec.errors import DataError
from tsrec.sid import SidSpace
from tsrec.sids.collisions import count_colliding, make_unique
from tsrec.sids.health import check_health, codebook_health, describe_collapse
from tsrec.sids.imported import read_sids
from tsrec.sids.kmeans import residual_kmeans
from tsrec.sids.quantization import Quantizer
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter

logger = logging.getLogger(__name__)

_Assignment = tuple[np.ndarray, tuple[int, ...], pd.DataFrame]  # codes (N, L), codes per level, codebook health


def run(config: SidsConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_sids`, `codebook_health`, `sid_space.json` and, unless imported, `codebooks`.

    Raises:
        CodebookError: a codebook collapsed, a prefix has more items than codes, or imported SIDs do not fit.
        DataError: fewer than two items, or an unreadable file of SIDs.
    """
    item_ids = parents["ingest"].frame("items", [C.ITEM])[C.ITEM].tolist()
    if config.import_file:
        codes, sizes, health = _import(Path(config.import_file), item_ids, config, out)
    elif len(item_ids) < 2:
        raise DataError("semantic IDs need at least 2 items; ingest left fewer")
    else:
        embeddings = parents["embed"].matrix("item_embeddings", C.EMBEDDING)
        if (embeddings == embeddings[0]).all():
            raise DataError(
                f"all {len(item_ids)} items have the same embedding, so no semantic ID can tell them apart; are their "
                "texts alike? Look at ingest.text_fields"
            )
        codes, sizes, health = _quantize(embeddings, config, out, quantize=residual_kmeans)
    out.count(n_shared=count_colliding(codes))
    sids = pa.array(list(codes.astype(np.int16)), type=pa.list_(pa.int16()))
    out.write_table("item_sids", pa.table({C.ITEM: pa.array(item_ids), C.CODES: sids}))
    out.write_table("codebook_health", health)
    out.write_json("sid_space", {"sizes": list(sizes)})


def _import(path: Path, item_ids: list[str], config: SidsConfig, out: ArtifactWriter) -> _Assignment:
    codes = read_sids(path, item_ids)
    sizes = SidSpace.of_codes(codes).sizes
    health = codebook_health(codes, sizes, errors=None)
    # Published SIDs are taken as they are: their health is reported, not judged.
    for row in health.itertuples(index=False):
        if row.used < row.n_codes:
            logger.warning("%s: level %d uses %d of %d codes", path, row.level + 1, row.used, row.n_codes)
    collapse = describe_collapse(health, len(codes), config)
    if collapse:
        logger.warning("%s: %s; imported SIDs are used all the same", path, collapse)
    out.count(n_collisions=count_colliding(codes), n_moved=0, imported=1)
    return codes, sizes, health


def _quantize(embeddings: np.ndarray, config: SidsConfig, out: ArtifactWriter, quantize: Quantizer) -> _Assignment:
    quantization = quantize(embeddings, config)
    codes, n_moved = quantization.codes, 0
    health = codebook_health(codes, quantization.sizes, quantization.errors)
    check_health(health, len(codes), config)
    n_collisions = count_colliding(codes)
    if config.unique:
        codes, n_moved = make_unique(codes, quantization.residuals, quantization.codebooks[-1])
    out.count(n_collisions=n_collisions, n_moved=n_moved, imported=0)
    out.write_table("codebooks", _codebooks(quantization.codebooks))
    return codes, quantization.sizes, health


def _codebooks(books: list[np.ndarray]) -> pa.Table:
    return pa.table(
        {
            C.LEVEL: pa.array(np.concatenate([np.full(len(book), level) for level, book in enumerate(books)])),
            C.CODE: pa.array(np.concatenate([np.arange(len(book)) for book in books])),
            C.CENTROID: pa.array([row for book in books for row in book], type=pa.list_(pa.float32())),
        }
    )


def _parents(config: Config) -> tuple[str, ...]:
    return ("ingest",) if config.sids.import_file else ("ingest", "embed")


def _raw_inputs(config: SidsConfig) -> dict[str, Path]:
    path = config.imported_file("sids")
    return {"sids": path} if path else {}


STAGE = Stage(
    name="sids",
    version=2,
    config=lambda config: config.sids.beside(config.ingest.path),
    parents=_parents,
    run=run,
    raw_inputs=_raw_inputs,
)
