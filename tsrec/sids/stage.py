"""The sids stage: quantize or import, settle collisions, judge the codebooks."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import SidsConfig
from tsrec.errors import CodebookError, DataError
from tsrec.sid.space import SidSpace
from tsrec.sids.collisions import count_colliding, make_unique
from tsrec.sids.cooccurrence import factors_beside
from tsrec.sids.extension import assign_free
from tsrec.sids.health import check_health, codebook_health, describe_collapse
from tsrec.sids.imported import read_sids
from tsrec.sids.quantization import reconstruction_errors
from tsrec.sids.quantizer_registry import QUANTIZERS, copy_quantizer, open_quantizer, save_quantizer
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactWriter, base_role

logger = logging.getLogger(__name__)

_Assignment = tuple[np.ndarray, tuple[int, ...], pd.DataFrame]  # codes (N, L), codes per level, codebook health
_FACTORS = "item_factors"


def run(config: SidsConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_sids`, `codebook_health`, `sid_space.json` and, unless imported, `codebooks`; with a quantizer that
    has one, `transform.safetensors`; with co-occurrence, `item_factors`; where items have gone, `gone_sids`.

    With a base its items keep their SIDs, whatever their texts are now, and its quantizer serves the new ones.

    Raises:
        CodebookError: a codebook collapsed, a prefix has more items than codes, or imported SIDs do not fit.
        DataError: fewer than two items, items that nothing tells apart, or an unreadable file of SIDs.
        TrainingError: a quantizer that is trained diverged.
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
        codes, sizes, health = _quantize(item_ids, parents, config, out)
    out.count(n_shared=count_colliding(codes))
    _write_sids("item_sids", item_ids, codes, out)
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


def _quantize(item_ids: list[str], parents: Parents, config: SidsConfig, out: ArtifactWriter) -> _Assignment:
    embeddings = parents["embed"].matrix("item_embeddings", C.EMBEDDING)
    if (embeddings == embeddings[0]).all():
        raise DataError(
            f"all {len(item_ids)} items have the same embedding, so no semantic ID can tell them apart; are their "
            "texts alike? Look at ingest.text_fields"
        )
    vectors = embeddings
    if config.cooccurrence:
        events = parents["ingest"].frame("interactions", [C.USER, C.ITEM, C.POSITION, C.SPLIT])
        factors = factors_beside(embeddings, events, item_ids, config)
        _write_factors(item_ids, factors, out)
        vectors = np.hstack([embeddings, factors])
    quantization = QUANTIZERS[config.quantizer].fit(vectors, config)
    codes, n_moved = quantization.codes, 0
    health = codebook_health(codes, quantization.sizes, quantization.errors)
    check_health(health, len(codes), config)
    left = reconstruction_errors(vectors, codes, quantization.codebooks, quantization.transform)
    out.count(n_collisions=count_colliding(codes), reconstruction_error=_of_texts(left, embeddings))
    if config.unique:
        codes, n_moved = make_unique(codes, quantization.residuals, quantization.codebooks[-1])
    out.count(n_moved=n_moved, imported=0, **quantization.counts)
    save_quantizer(quantization, out)
    return codes, quantization.sizes, health


def _extend(
    base: Artifact, item_ids: list[str], embeddings: np.ndarray, config: SidsConfig, out: ArtifactWriter
) -> _Assignment:
    """Old items as they are, new ones by the frozen quantizer. A collapse is told, not judged: old SIDs stay.

    Those of items that have gone stay theirs in `gone_sids`: what is out of stock for a week comes back as it was, and
    nothing else has got what the LLM knows of it.
    """
    quantizer, (known_ids, known_codes) = open_quantizer(base, config), _known_sids(base)
    old = known_ids.get_indexer(pd.Index(item_ids))
    is_new = old < 0
    is_gone = ~np.isin(np.arange(len(known_ids)), old)
    vectors = embeddings
    if config.cooccurrence:
        # As they were when the quantizer was made, for it knows no others.
        before = base.matrix(_FACTORS, C.EMBEDDING)
        had_some = ~is_new & (old < len(before))
        factors = np.where(had_some[:, None], before[np.where(had_some, old, 0)], np.float32(0))
        _write_factors(item_ids, factors, out)
        vectors = np.hstack([embeddings, factors])
    latents, nearest, errors = quantizer.quantize(vectors)
    sizes = tuple(map(len, quantizer.codebooks))
    health = codebook_health(nearest, sizes, errors.mean(axis=0, dtype=np.float64).tolist())
    collapse = describe_collapse(health, len(item_ids), config)
    if collapse:
        logger.warning("%s; a rebuild is due", collapse)
    codes, n_moved = nearest.copy(), 0
    codes[~is_new] = known_codes[old[~is_new]]
    if config.unique and is_new.any():
        codes[is_new], n_moved = assign_free(latents[is_new], quantizer.codebooks, known_codes)
    if is_gone.any():
        _write_sids("gone_sids", known_ids[is_gone].tolist(), known_codes[is_gone], out)
    left = quantizer.reconstruction_errors(vectors, nearest)
    out.count(
        n_collisions=count_colliding(nearest),
        n_moved=n_moved,
        imported=0,
        n_items_known=int((~is_new).sum()),
        n_items_new=int(is_new.sum()),
        n_items_gone=int(is_gone.sum()),
        n_items_placed=int(base.counts.get("n_items_placed", 0)) + int(is_new.sum()),  # since the codebooks were made
        quantization_error_known=_of_texts(left[~is_new], embeddings),
        quantization_error_new=_of_texts(left[is_new], embeddings),
    )
    copy_quantizer(base, out)
    return codes, sizes, health


def _frozen_space(base: Artifact, item_ids: list[str], codes: np.ndarray, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The base's codes per level, where imported SIDs are still those of the base and fit among them.

    Raises:
        CodebookError: they are not, or do not.
    """
    space, (known_ids, before) = tuple(base.json("sid_space")["sizes"]), _known_sids(base)
    old = known_ids.get_indexer(pd.Index(item_ids))
    known = np.flatnonzero(old >= 0)
    fits = len(sizes) == len(space) and all(size <= most for size, most in zip(sizes, space, strict=True))
    if not fits or (codes[known] != before[old[known]]).any():
        raise CodebookError(
            "sids.import_file: SIDs of items that the champion knows have changed, or new ones have codes that it "
            "lacks; a refresh keeps them, so give `tsrec run`, which starts anew"
        )
    return space


def _known_sids(base: Artifact) -> tuple[pd.Index, np.ndarray]:
    """The items of the base, and behind them those that have gone since its codebooks were made; (K, L) their SIDs."""
    tables = [name for name in ("item_sids", "gone_sids") if base.has(name)]
    ids = pd.concat([base.frame(name, [C.ITEM])[C.ITEM] for name in tables])
    codes = np.concatenate([base.matrix(name, C.CODES) for name in tables])
    return pd.Index(ids), codes.astype(np.int64)


def _write_sids(name: str, item_ids: list[str], codes: np.ndarray, out: ArtifactWriter) -> None:
    sids = pa.array(list(codes.astype(np.int16)), type=pa.list_(pa.int16()))
    out.write_table(name, pa.table({C.ITEM: pa.array(item_ids), C.CODES: sids}))


def _write_factors(item_ids: list[str], factors: np.ndarray, out: ArtifactWriter) -> None:
    vectors = pa.array(list(factors), type=pa.list_(pa.float32()))
    out.write_table(_FACTORS, pa.table({C.ITEM: pa.array(item_ids), C.EMBEDDING: vectors}))
    out.count(n_without_cooccurrence=int((factors == 0).all(axis=1).sum()))


def _of_texts(errors: np.ndarray, embeddings: np.ndarray) -> float:
    """Mean squared length of what is left of the text embeddings alone, whatever stands beside them; 0 of no items."""
    lengths = errors[:, : embeddings.shape[1]].sum(axis=1)
    return round(float(lengths.mean(dtype=np.float64)), 6) if len(errors) else 0.0
