"""The sids stage: quantizes or imports SIDs, resolves collisions, and checks the codebooks. Refreshes: `extension`."""

import logging
from pathlib import Path

import numpy as np

from tsrec.columns import Columns as C
from tsrec.config import SidsConfig
from tsrec.errors import DataError
from tsrec.histories import read_histories
from tsrec.sid.space import SidSpace
from tsrec.sids.collisions import count_colliding, unique_codes
from tsrec.sids.cooccurrence import cooccurrence_factors
from tsrec.sids.extension import extend_sids, frozen_sid_space
from tsrec.sids.health import check_health, codebook_health, describe_collapse
from tsrec.sids.imported import read_sids
from tsrec.sids.quantizer_registry import fit_quantizer, save_quantizer
from tsrec.sids.sid_tables import Assignment, mean_error, write_factors, write_sids
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter, base_role

logger = logging.getLogger(__name__)


def run(config: SidsConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `item_sids`, `codebook_health`, `sid_space.json` and, unless imported, `codebooks`; with a quantizer that
    has one, `transform.safetensors`; with co-occurrence, `item_factors`; where items have gone, `gone_sids`.

    In a refresh the items of the base keep their SIDs, even if their texts have changed (see `extension`).

    Raises:
        CodebookError: a codebook collapsed, there are fewer SIDs than items, or imported SIDs do not fit.
        DataError: fewer than two items, items that nothing tells apart, or an unreadable file of SIDs.
        TrainingError: a quantizer that is trained diverged.
    """
    item_ids = parents["ingest"].frame("items", [C.ITEM])[C.ITEM].tolist()
    base = parents.get(base_role("sids"))
    if config.import_file:
        codes, sizes, health = _import(Path(config.import_file), item_ids, config, out)
        if base:
            sizes = frozen_sid_space(base, item_ids, codes, sizes)
    elif base:
        embeddings = parents["embed"].matrix("item_embeddings", C.EMBEDDING)
        codes, sizes, health = extend_sids(base, item_ids, embeddings, config, out)
    elif len(item_ids) < 2:
        raise DataError("semantic IDs need at least 2 items; ingest left fewer")
    else:
        codes, sizes, health = _quantize(item_ids, parents, config, out)
    out.count(n_shared=count_colliding(codes))
    write_sids("item_sids", item_ids, codes, out)
    out.write_table("codebook_health", health)
    out.write_json("sid_space", {"sizes": list(sizes)})


def _import(path: Path, item_ids: list[str], config: SidsConfig, out: ArtifactWriter) -> Assignment:
    codes = read_sids(path, item_ids)
    sizes = SidSpace.from_codes(codes).sizes
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


def _quantize(item_ids: list[str], parents: Parents, config: SidsConfig, out: ArtifactWriter) -> Assignment:
    embeddings = parents["embed"].matrix("item_embeddings", C.EMBEDDING)
    if (embeddings.min(axis=0) == embeddings.max(axis=0)).all():
        raise DataError(
            f"all {len(item_ids)} items have the same embedding, so no semantic ID can tell them apart; are their "
            "texts alike? Look at ingest.text_fields"
        )
    vectors, n_dimensions = embeddings, embeddings.shape[1]
    if config.cooccurrence:
        histories = read_histories(parents["ingest"])
        factors = cooccurrence_factors(embeddings, histories, config)
        del histories
        write_factors(item_ids, factors, out)
        vectors = np.hstack([embeddings, factors])
    del embeddings  # of a large catalogue, one copy is enough
    quantization = fit_quantizer(vectors, config)
    codes, n_moved = quantization.codes, 0
    health = codebook_health(codes, quantization.sizes, quantization.errors)
    check_health(health, len(codes), config)
    errors = quantization.reconstruction_errors(vectors, codes, n_dimensions)
    out.count(n_collisions=count_colliding(codes), reconstruction_error=mean_error(errors))
    if config.unique:
        codes, n_moved = unique_codes(quantization, vectors)
    out.count(n_moved=n_moved, imported=0, **quantization.counts)
    save_quantizer(quantization, out)
    return codes, quantization.sizes, health
