"""The sids stage: quantize or import, settle collisions, judge the codebooks."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import Config, SidsConfig
from tsrec.errors import DataError
from tsrec.sid import SidSpace
from tsrec.sids.collisions import count_colliding, make_unique
from tsrec.sids.health import check_health, codebook_health
from tsrec.sids.imported import read_sids
from tsrec.sids.kmeans import residual_kmeans
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter


def run(config: SidsConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_sids`, `codebook_health`, `sid_space.json` and, unless imported, `codebooks`."""
    item_ids = parents["ingest"].frame("items", [C.ITEM])[C.ITEM].tolist()
    if config.import_file:
        codes = read_sids(Path(config.import_file), item_ids)
        sizes = SidSpace.of_codes(codes).sizes
        # Published SIDs are taken as they are: their health is reported, not judged.
        health = codebook_health(codes, sizes, errors=None)
        out.count(n_collisions=count_colliding(codes), n_moved=0, imported=1)
    else:
        if len(item_ids) < 2:
            raise DataError("semantic IDs need at least 2 items; ingest left fewer")
        quantization = residual_kmeans(parents["embed"].matrix("item_embeddings", C.EMBEDDING), config)
        codes, sizes = quantization.codes, tuple(len(book) for book in quantization.codebooks)
        health = codebook_health(codes, sizes, quantization.errors)
        check_health(health, config)
        n_moved = 0
        n_collisions = count_colliding(codes)
        if config.unique:
            codes, n_moved = make_unique(codes, quantization.residuals, quantization.codebooks[-1])
        out.count(n_collisions=n_collisions, n_moved=n_moved, imported=0)
        out.write_table("codebooks", _codebooks(quantization.codebooks))
    out.count(n_shared=count_colliding(codes))
    sids = pa.array(list(codes.astype(np.int16)), type=pa.list_(pa.int16()))
    out.write_table("item_sids", pa.table({C.ITEM: pa.array(item_ids), C.CODES: sids}))
    out.write_table("codebook_health", health)
    out.write_json("sid_space", {"sizes": list(sizes)})


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
    if not config.import_file:
        return {}
    path = Path(config.import_file)
    if not path.is_file():
        raise DataError(f"sids.import_file: {path}: no such file")
    return {"sids": path}


STAGE = Stage(
    name="sids", version=1, config=lambda config: config.sids, parents=_parents, run=run, raw_inputs=_raw_inputs
)
