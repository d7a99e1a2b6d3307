"""The sa_init stage: gather what every SID token means, and turn it into the token's initial embedding."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from transformers import AutoTokenizer

from tsrec.columns import Columns as C
from tsrec.config import SaInitConfig, SaInitSettings
from tsrec.errors import DataError
from tsrec.sa_init.imported import import_semantics
from tsrec.sa_init.initializers import initialize
from tsrec.sa_init.pretrained_rows import read_input_embeddings
from tsrec.sid.meaning import TokenMeaning, aggregate_keywords, cluster_sizes, to_table
from tsrec.sid.space import SidSpace
from tsrec.sid.vectors import unit_rows
from tsrec.store import Artifact, ArtifactWriter, base_role

logger = logging.getLogger(__name__)


def run(config: SaInitSettings, parents: Mapping[str, Artifact], out: ArtifactWriter) -> None:
    """Write `token_semantics` and `token_embeddings`, one row per token of the SID space in flat order.

    Tokens that a base had items for keep its rows.
    """
    space = SidSpace(tuple(parents["sids"].json("sid_space")["sizes"]))
    meanings = _meanings(config, parents, space, out)
    out.write_table("token_semantics", to_table(meanings))

    folder = parents["backbone"].file("model")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    # Some models pad their matrix beyond the vocabulary; those rows were never trained.
    vectors = read_input_embeddings(folder)[: len(tokenizer)]
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        token = tokenizer.convert_ids_to_tokens(row)
        raise DataError(
            f"the backbone's input embeddings hold NaN or infinity, first for its token {token!r} ({row}): its weights "
            "are damaged; get them again, or set backbone.model to another"
        )
    logger.info("initializing %d tokens by %s", len(meanings), config.initializer)
    rows, meaningful = initialize(meanings, vectors, tokenizer, config)
    if base := parents.get(base_role("sa_init")):
        in_base = base.table("token_semantics", [C.N_ITEMS])[C.N_ITEMS].to_numpy() > 0
        rows[in_base] = base.matrix("token_embeddings", C.EMBEDDING)[in_base]
        out.count(n_rows_known=int(in_base.sum()))
    out.write_table("token_embeddings", _embedding_table(meanings, rows))
    out.count(
        n_tokens=len(meanings),
        n_tokens_in_use=sum(meaning.n_items > 0 for meaning in meanings),
        n_tokens_in_use_without_keywords=sum(meaning.n_items > 0 and not meaning.keywords for meaning in meanings),
        n_rows_random=int((~meaningful).sum()),
        mean_norm=round(float(np.linalg.norm(rows, axis=1).mean()), 6),
        mean_norm_pretrained=round(float(np.linalg.norm(vectors, axis=1).mean()), 6),
        mean_cosine=round(_mean_cosine(rows[meaningful]), 6),
        nearest_cosine=round(_nearest_cosine(rows), 6),
    )


def _meanings(
    config: SaInitConfig, parents: Mapping[str, Artifact], space: SidSpace, out: ArtifactWriter
) -> list[TokenMeaning]:
    codes = parents["sids"].matrix("item_sids", C.CODES).astype(np.int64)  # (n_items, n_levels)
    if config.import_file:
        sizes = cluster_sizes(codes, space)
        meanings, left_out = import_semantics(Path(config.import_file), space, sizes, config.n_keywords)
        out.count(**left_out)
        return meanings
    item_ids = parents["sids"].table("item_sids", [C.ITEM])[C.ITEM].to_pylist()
    keywords = _by_item(parents["keywords"], "item_keywords", C.KEYWORDS)
    titles = _by_item(parents["ingest"], "items", C.TITLE)
    item_keywords = [keywords.get(item) or [] for item in item_ids]
    out.count(n_items_without_keywords=sum(not of_item for of_item in item_keywords))
    if not any(item_keywords):
        raise DataError("no item has a keyword, so no token has a meaning; look into the keywords stage")
    item_titles = [titles.get(item) or "" for item in item_ids]
    return aggregate_keywords(codes, item_keywords, item_titles, space, config.n_keywords)


def _by_item(artifact: Artifact, table: str, column: str) -> dict:
    columns = artifact.table(table, [C.ITEM, column])
    return dict(zip(columns[C.ITEM].to_pylist(), columns[column].to_pylist(), strict=True))


def _embedding_table(meanings: Sequence[TokenMeaning], rows: np.ndarray) -> pa.Table:
    """The keywords stand beside the vectors so that a person can read the file."""
    return pa.table(
        {
            C.TOKEN: pa.array([meaning.token for meaning in meanings], pa.string()),
            C.EMBEDDING: pa.array(list(rows), pa.list_(pa.float32())),
            C.KEYWORDS: pa.array([list(meaning.keywords) for meaning in meanings], pa.list_(pa.string())),
        }
    )


def _mean_cosine(rows: np.ndarray) -> float:
    """Mean cosine between two different rows, the sign of collapsed initializations (GTI, arXiv 2604.02324)."""
    if len(rows) < 2:
        return 0.0
    units = unit_rows(rows)
    total = float(np.square(units.sum(axis=0, dtype=np.float64)).sum())
    return (total - len(rows)) / (len(rows) * (len(rows) - 1))


def _nearest_cosine(rows: np.ndarray) -> float:
    """Median over rows of the cosine to the nearest other row: how alike tokens start, which centring does not tell."""
    if len(rows) < 2:
        return 0.0
    units = unit_rows(rows)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -1)
    return float(np.median(cosines.max(axis=1)))
