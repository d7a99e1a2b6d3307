"""The sids stage: quantize or import, settle collisions, judge the codebooks."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import Config, SidsConfig
from tsrec.errors import CodebookError, DataError
from tsrec.sid import SidSpace
from tsrec.sids.collisions import count_colliding, make_unique
from tsrec.sids.extension import assign_free, quantize
from tsrec.sids.health import check_health, codebook_health, describe_collapse
from tsrec.sids.imported import read_sids
from tsrec.sids.kmeans import residual_kmeans
from tsrec.sids.quantization import Quantizer
from tsrec.stage import Parents, Stage
from tsrec.store import Artifact, ArtifactWriter, base_role

logger = logging.getLogger(__name__)

_Assignment = tuple[np.ndarray, tuple[int, ...], pd.DataFrame]  # codes (N, L), codes per level, codebook health


def run(config: SidsConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_sids`, `codebook_health`, `sid_space.json` and, unless imported, `codebooks`.

    With a base its items keep their SIDs, whatever their texts are now, and its codebooks serve the new ones.

    Raises:
        CodebookError: a codebook collapsed, a prefix has more items than codes, or imported SIDs do not fit.
        DataError: fewer than two items, or an unreadable file of SIDs.
    """
    item_ids = parents["ingest"].frame("items", [C.ITEM])[C.ITEM].tolist()
    base = parents.get(base_role("sids"))
    if config.import_file:
        codes, sizes, health = _import(Path(config.import_file), item_ids, config, out)
        if base:
            sizes = _frozen_space(base, item_ids, codes, sizes)
    elif base:
        embeddings = parents["embed"].matrix("item_embeddings", C.EMBEDDING)
        codes, sizes, health = _extend(base, item_ids, embeddings, config, out)
    elif len(item_ids) < 2:
        raise DataError("semantic IDs need at least 2 items; ingest left fewer")
    else:
        embeddings = parents["embed"].matrix("item_embeddings", C.EMBEDDING)
        if (embeddings == embeddings[0]).all():
            raise DataError(
                f"all {len(item_ids)} items have the same embedding, so no semantic ID can tell them apart; are their "
                "texts alike? Look at ingest.text_fields"
            )
        codes, sizes, health = _quantize(embeddings, config, out, quantizer=residual_kmeans)
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


def _quantize(embeddings: np.ndarray, config: SidsConfig, out: ArtifactWriter, quantizer: Quantizer) -> _Assignment:
    quantization = quantizer(embeddings, config)
    codes, n_moved = quantization.codes, 0
    health = codebook_health(codes, quantization.sizes, quantization.errors)
    check_health(health, len(codes), config)
    n_collisions = count_colliding(codes)
    if config.unique:
        codes, n_moved = make_unique(codes, quantization.residuals, quantization.codebooks[-1])
    out.count(n_collisions=n_collisions, n_moved=n_moved, imported=0)
    out.write_table("codebooks", _codebooks(quantization.codebooks))
    return codes, quantization.sizes, health


def _extend(
    base: Artifact, item_ids: list[str], embeddings: np.ndarray, config: SidsConfig, out: ArtifactWriter
) -> _Assignment:
    """Old items as they are, new ones by the frozen codebooks. A collapse is told, not judged: old SIDs stay."""
    levels = base.table("codebooks", [C.LEVEL])[C.LEVEL].to_numpy()
    centroids = base.matrix("codebooks", C.CENTROID)
    books = [centroids[levels == level] for level in range(int(levels.max()) + 1)]
    sizes = tuple(map(len, books))
    old = _base_rows(base, item_ids)
    base_codes = base.matrix("item_sids", C.CODES).astype(np.int64)
    nearest, errors = quantize(embeddings, books)
    health = codebook_health(nearest, sizes, errors.mean(axis=0, dtype=np.float64).tolist())
    collapse = describe_collapse(health, len(item_ids), config)
    if collapse:
        logger.warning("%s; a rebuild is due", collapse)
    codes, is_new, n_moved = nearest.copy(), old < 0, 0
    codes[~is_new] = base_codes[old[~is_new]]
    if config.unique and is_new.any():
        codes[is_new], n_moved = assign_free(embeddings[is_new], books, codes[~is_new])
    out.count(
        n_collisions=count_colliding(nearest),
        n_moved=n_moved,
        imported=0,
        n_items_known=int((~is_new).sum()),
        n_items_new=int(is_new.sum()),
        n_items_gone=len(base_codes) - int((~is_new).sum()),
        n_items_placed=int(base.counts.get("n_items_placed", 0)) + int(is_new.sum()),  # since the codebooks were made
        quantization_error_known=_mean(errors[~is_new, -1]),
        quantization_error_new=_mean(errors[is_new, -1]),
    )
    out.write_table("codebooks", base.table("codebooks"))
    return codes, sizes, health


def _frozen_space(base: Artifact, item_ids: list[str], codes: np.ndarray, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The base's codes per level, where imported SIDs are still those of the base and fit among them.

    Raises:
        CodebookError: they are not, or do not.
    """
    space, old = tuple(base.json("sid_space")["sizes"]), _base_rows(base, item_ids)
    before = base.matrix("item_sids", C.CODES).astype(np.int64)
    known = np.flatnonzero(old >= 0)
    fits = len(sizes) == len(space) and all(size <= most for size, most in zip(sizes, space, strict=True))
    if not fits or (codes[known] != before[old[known]]).any():
        raise CodebookError(
            "sids.import_file: SIDs of items that the champion knows have changed, or new ones have codes that it "
            "lacks; a refresh keeps them, so give `tsrec run`, which starts anew"
        )
    return space


def _base_rows(base: Artifact, item_ids: list[str]) -> np.ndarray:
    """(N,) the base's row of every item, -1 for new ones."""
    return pd.Index(base.frame("item_sids", [C.ITEM])[C.ITEM]).get_indexer(pd.Index(item_ids))


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean(dtype=np.float64)), 6) if len(values) else 0.0


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
    bases=("sids",),
)
