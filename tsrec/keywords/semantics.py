"""The semantics stage: the items of each SID token in a teacher's words, for TS-Align.

What is asked of the teacher is kept for the whole store, so that no SA-Init, no training and no refresh asks for the
same cluster again.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import OpenAIConfig
from tsrec.keywords.openai_teacher import Cluster, Describer
from tsrec.keywords.teacher import cost_usd, usage_of, with_usage
from tsrec.sid.clusters import order_by_centrality, token_clusters
from tsrec.sid.meaning import KeywordTable, describe
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter
from tsrec.store.shards import row_shards, tables_of

_PAID = "descriptions.sqlite"
_SHARD = 256  # clusters; a killed run resumes at the next
_N_KEYWORDS, _TITLES_TOLD = 8, 8  # of each cluster
_FALLBACK = "template-fallback"


def run(config: OpenAIConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write `token_semantics`: `token`, its `level`, `n_items`, `keywords`, `titles` of its nearest items,
    `description` and its `source`; level by level, code by code."""
    codes = parents["sids"].matrix("item_sids", C.CODES).astype(np.int64)  # (n_items, n_levels)
    item_ids = parents["sids"].table("item_sids", [C.ITEM])[C.ITEM].to_pylist()
    titles = parents["ingest"].frame("items", [C.ITEM, C.TITLE]).set_index(C.ITEM)[C.TITLE].reindex(item_ids).tolist()
    vectors = parents["embed"].frame("item_embeddings").set_index(C.ITEM)[C.EMBEDDING].reindex(item_ids)
    embeddings = np.stack(vectors.to_list())  # (n_items, D)
    keywords = parents["keywords"].frame("item_keywords", [C.ITEM, C.KEYWORDS]).set_index(C.ITEM)[C.KEYWORDS]
    table = KeywordTable.from_keywords([list(of_item) for of_item in keywords.reindex(item_ids)])
    by_level = token_clusters(codes)
    clusters: list[Cluster] = []
    for level in range(codes.shape[1]):
        classes = [cluster for cluster in by_level if cluster.level == level]
        for cluster, meaning in zip(classes, table.meanings(classes, _N_KEYWORDS), strict=True):
            near = (titles[item] for item in order_by_centrality(embeddings, cluster.items)[:_TITLES_TOLD])
            shown = tuple(title for title in near if title)
            clusters.append(Cluster(cluster.token, level, len(cluster.items), meaning.keywords, shown))
    descriptions, sources = _descriptions(clusters, config, out)
    out.write_table("token_semantics", _table(clusters, descriptions, sources))
    out.count(
        n_clusters=len(clusters),
        n_clusters_without_keywords=sum(not cluster.keywords for cluster in clusters),
    )


def _descriptions(
    clusters: Sequence[Cluster], config: OpenAIConfig, out: ArtifactWriter
) -> tuple[list[str], list[str]]:
    """The descriptions and their sources: the teacher's, shard by shard; the template's where there is none."""
    templates = [describe(cluster.keywords, cluster.titles) for cluster in clusters]
    describer, teacher = Describer(config, out.common / _PAID), f"openai:{config.model}"

    def ask(first: int, end: int) -> pa.Table:
        answers, usage = describer.describe(clusters[first:end])
        return with_usage(pa.table({C.DESCRIPTION: pa.array(answers, pa.string())}), usage)

    pieces = row_shards(out.work, len(clusters), _SHARD, ask, lambda first, _: str(first))
    shards = tables_of(pieces, "describing clusters", "cluster")
    answers: list[str | None] = [answer for shard in shards for answer in shard[C.DESCRIPTION].to_pylist()]
    usage = usage_of(shards)
    out.count(**usage, n_fallback=answers.count(None), cost_usd=cost_usd(config, usage))
    return (
        [answer or template for answer, template in zip(answers, templates, strict=True)],
        [_FALLBACK if answer is None else teacher for answer in answers],
    )


def _table(clusters: Sequence[Cluster], descriptions: list[str], sources: list[str]) -> pa.Table:
    words = pa.list_(pa.string())
    return pa.table(
        {
            C.TOKEN: pa.array([cluster.token for cluster in clusters], pa.string()),
            C.LEVEL: pa.array([cluster.level for cluster in clusters], pa.int16()),
            C.N_ITEMS: pa.array([cluster.n_items for cluster in clusters], pa.int32()),
            C.KEYWORDS: pa.array([list(cluster.keywords) for cluster in clusters], words),
            C.TITLES: pa.array([list(cluster.titles) for cluster in clusters], words),
            C.DESCRIPTION: pa.array(descriptions, pa.string()),
            C.SOURCE: pa.array(sources, pa.string()),
        }
    )
