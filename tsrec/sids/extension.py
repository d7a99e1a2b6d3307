"""Refreshes: a SID that an item has never changes, and new items get free SIDs from the frozen quantizer."""

import logging

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import SidsConfig
from tsrec.errors import CodebookError
from tsrec.sids.collisions import count_colliding
from tsrec.sids.free_sids import assign_free
from tsrec.sids.health import codebook_health, describe_collapse
from tsrec.sids.quantizer_registry import copy_quantizer, open_quantizer
from tsrec.sids.sid_tables import FACTORS, Assignment, mean_error, write_factors, write_sids
from tsrec.store import Artifact, ArtifactWriter

logger = logging.getLogger(__name__)


def extend_sids(
    base: Artifact, item_ids: list[str], embeddings: np.ndarray, config: SidsConfig, out: ArtifactWriter
) -> Assignment:
    """Keep the SIDs of known items, and assign new items by the frozen quantizer.

    A collapsed codebook is logged and is no error: known items keep their SIDs whatever happens. SIDs of items that
    have gone are reserved in `gone_sids`. So an item that is out of stock for a week comes back with its old SID. No
    other item inherits what the LLM learned of it.

    Args:
        base: the `sids` artifact that the refresh starts from.
        item_ids: the N items of the catalogue as it is now.
        embeddings: (N, D) float32, their text embeddings.
        config: settings of the stage.
        out: where tables and counts are written.

    Raises:
        CodebookError: fewer SIDs are free than there are new items.
    """
    quantizer, (known_ids, known_codes) = open_quantizer(base, config), _known_sids(base)
    base_rows = known_ids.get_indexer(pd.Index(item_ids))  # (N,) -1: the item is new
    is_new = base_rows < 0
    is_gone = ~np.isin(np.arange(len(known_ids)), base_rows)
    vectors = embeddings
    if config.cooccurrence:
        # The base's factors as they are: the quantizer was fitted on them.
        base_factors = base.matrix(FACTORS, C.EMBEDDING)
        has_factors = ~is_new & (base_rows < len(base_factors))
        factors = np.where(has_factors[:, None], base_factors[np.where(has_factors, base_rows, 0)], np.float32(0))
        write_factors(item_ids, factors, out)
        vectors = np.hstack([embeddings, factors])
    nearest, errors = quantizer.quantize(vectors)
    health = codebook_health(nearest, quantizer.sizes, errors.mean(axis=0, dtype=np.float64).tolist())
    collapse = describe_collapse(health, len(item_ids), config)
    if collapse:
        logger.warning("%s; a rebuild is due", collapse)
    codes, n_moved = nearest.copy(), 0
    codes[~is_new] = known_codes[base_rows[~is_new]]
    if config.unique and is_new.any():
        latents = quantizer.transform.encode(vectors[is_new])
        codes[is_new], n_moved = assign_free(latents, quantizer.codebooks, known_codes)
    if is_gone.any():
        write_sids("gone_sids", known_ids[is_gone].tolist(), known_codes[is_gone], out)
    text_errors = quantizer.reconstruction_errors(vectors, nearest, embeddings.shape[1])
    out.count(
        n_collisions=count_colliding(nearest),
        n_moved=n_moved,
        imported=0,
        n_items_known=int((~is_new).sum()),
        n_items_new=int(is_new.sum()),
        n_items_gone=int(is_gone.sum()),
        n_items_placed=int(base.counts.get("n_items_placed", 0)) + int(is_new.sum()),  # since the codebooks were made
        quantization_error_known=mean_error(text_errors[~is_new]),
        quantization_error_new=mean_error(text_errors[is_new]),
    )
    copy_quantizer(base, out)
    return codes, quantizer.sizes, health


def frozen_sid_space(base: Artifact, item_ids: list[str], codes: np.ndarray, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The base's codes per level, after checking that imported SIDs keep those of the base.

    Args:
        base: the `sids` artifact that the refresh starts from.
        item_ids: the N items of the catalogue as it is now.
        codes: (N, L) their imported SIDs.
        sizes: codes per level that these need.

    Raises:
        CodebookError: an item that the base has got another SID, or a code is not among those of the base.
    """
    space, (known_ids, known_codes) = tuple(base.json("sid_space")["sizes"]), _known_sids(base)
    base_rows = known_ids.get_indexer(pd.Index(item_ids))
    known = np.flatnonzero(base_rows >= 0)
    fits = len(sizes) == len(space) and all(size <= limit for size, limit in zip(sizes, space, strict=True))
    if not fits or (codes[known] != known_codes[base_rows[known]]).any():
        raise CodebookError(
            "sids.import_file: SIDs of items that the champion knows have changed, or new ones have codes that it "
            "lacks; a refresh keeps them, so give `tsrec run`, which starts anew"
        )
    return space


def _known_sids(base: Artifact) -> tuple[pd.Index, np.ndarray]:
    """The K items that have a SID in the base, and (K, L) these SIDs.

    The base's own items come first, then those that have gone since its codebooks were made.
    """
    tables = [name for name in ("item_sids", "gone_sids") if base.has(name)]
    ids = pd.concat([base.frame(name, [C.ITEM])[C.ITEM] for name in tables])
    codes = np.concatenate([base.matrix(name, C.CODES) for name in tables])
    return pd.Index(ids), codes.astype(np.int64)
