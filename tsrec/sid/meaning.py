"""What a SID token means: the keywords that set its item cluster apart, and a short description.

All items whose SID carries a token form its *item cluster*; so do all whose SID begins alike. Knows nothing of models
or embeddings.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from scipy import sparse

from tsrec.columns import Columns as C
from tsrec.sid.clusters import ItemCluster, token_clusters
from tsrec.sid.space import SidSpace, parse_token

_N_TITLES = 2
_TITLE_WIDTH = 60


@dataclass(frozen=True)
class TokenMeaning:
    """One SID token in words. A token without items has neither keywords nor a description.

    `scores` says how much each counted keyword sets the cluster apart; it is empty for imported keywords.
    """

    token: str
    n_items: int
    keywords: tuple[str, ...]
    description: str
    scores: tuple[float, ...] = ()


def cluster_sizes(codes: np.ndarray, space: SidSpace) -> np.ndarray:
    """Count the items of every token.

    Args:
        codes: (n_items, n_levels), integer.
        space: the tokens' numbering.

    Returns:
        (n_tokens,), int64, in flat order.
    """
    return np.bincount((codes + np.asarray(space.offsets)).ravel(), minlength=space.n_tokens)


def aggregate_keywords(
    codes: np.ndarray, item_keywords: Sequence[Sequence[str]], titles: Sequence[str], space: SidSpace, n_keywords: int
) -> list[TokenMeaning]:
    """For every token, the keywords that are frequent in its cluster and rare in others of its level.

    Args:
        codes: (n_items, n_levels), integer.
        item_keywords: keywords of each item, any number.
        titles: title of each item; those of the most typical items enter the description.
        space: the tokens' numbering.
        n_keywords: the most that a token gets.

    Returns:
        One meaning per token of the space, in flat order.
    """
    keywords = KeywordTable.from_keywords(item_keywords)
    clusters = token_clusters(codes)
    meanings = {token: TokenMeaning(token, 0, (), "") for token in space.tokens()}
    for level in range(space.n_levels):
        classes = [cluster for cluster in clusters if cluster.level == level]
        for cluster, meaning in zip(classes, keywords.meanings(classes, n_keywords), strict=True):
            typical = cluster.items[keywords.order_by_typicality(cluster.items, meaning)]
            description = describe(meaning.keywords, [titles[item] for item in typical])
            meanings[cluster.token] = replace(meaning, description=description)
    return list(meanings.values())


@dataclass(frozen=True)
class KeywordTable:
    """Which item `has` which keyword, (n_items, n_vocabulary) 0 and 1; the `vocabulary` in alphabetical order."""

    has: sparse.csr_array
    vocabulary: list[str]

    @classmethod
    def from_keywords(cls, item_keywords: Sequence[Sequence[str]]) -> "KeywordTable":
        """From the keywords of each item. Letter case, and repeats within an item, do not count."""
        cleaned = [{" ".join(keyword.lower().split()) for keyword in keywords} - {""} for keywords in item_keywords]
        vocabulary = sorted(set().union(*cleaned))
        column_of = {keyword: column for column, keyword in enumerate(vocabulary)}
        rows = np.repeat(np.arange(len(cleaned)), [len(keywords) for keywords in cleaned])
        columns = [column_of[keyword] for keywords in cleaned for keyword in sorted(keywords)]
        places = rows, np.asarray(columns, dtype=np.int64)
        shape = (len(cleaned), len(vocabulary))
        return cls(sparse.csr_array((np.ones(len(columns)), places), shape=shape), vocabulary)

    def meanings(self, classes: Sequence[ItemCluster], n_keywords: int) -> list[TokenMeaning]:
        """The keywords that distinguish each cluster from the others, best first; descriptions are empty.

        Class-based TF-IDF (BERTopic, arXiv 2203.05794, eq. 2), with the clusters as the classes: a keyword that `count`
        items of a cluster and `total` items of all have scores `count * log(1 + mean / total)`, where `mean` is the
        mean number of keywords of a cluster. Equal scores: the more frequent in the cluster first, then by alphabet.
        """
        members = [cluster.items for cluster in classes]
        rows = np.repeat(np.arange(len(classes)), [len(items) for items in members])
        columns = np.concatenate([np.empty(0, dtype=np.int64), *members])
        in_cluster = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(classes), self.has.shape[0]))
        counts = sparse.csr_array(in_cluster @ self.has)
        rarity = _rarity(counts)  # (n_vocabulary,)
        meanings = []
        for row, cluster in enumerate(classes):
            cluster_counts = counts[[row]]
            scores = cluster_counts.data * rarity[cluster_counts.indices]
            # A higher column is later in the alphabet.
            best = np.lexsort((cluster_counts.indices, -cluster_counts.data, -scores))[:n_keywords]
            meanings.append(
                TokenMeaning(
                    cluster.token,
                    len(cluster.items),
                    keywords=tuple(self.vocabulary[column] for column in cluster_counts.indices[best]),
                    description="",
                    scores=tuple(float(score) for score in scores[best]),
                )
            )
        return meanings

    @cached_property
    def _column_of(self) -> dict[str, int]:
        return {keyword: column for column, keyword in enumerate(self.vocabulary)}

    def order_by_typicality(self, items: np.ndarray, meaning: TokenMeaning) -> np.ndarray:
        """Order a cluster's items by how much of its keywords they have, ties in the order of the items table."""
        columns = [self._column_of[keyword] for keyword in meaning.keywords]
        return np.argsort(-(self.has[items][:, columns] @ np.array(meaning.scores)), kind="stable")


def to_table(meanings: Sequence[TokenMeaning]) -> pa.Table:
    """The table `token_semantics`: level, code, token, n_items, keywords, description."""
    levels, codes = zip(*(parse_token(meaning.token) for meaning in meanings), strict=True)
    return pa.table(
        {
            C.LEVEL: pa.array(levels, pa.int16()),
            C.CODE: pa.array(codes, pa.int32()),
            C.TOKEN: pa.array([meaning.token for meaning in meanings], pa.string()),
            C.N_ITEMS: pa.array([meaning.n_items for meaning in meanings], pa.int32()),
            C.KEYWORDS: pa.array([list(meaning.keywords) for meaning in meanings], pa.list_(pa.string())),
            C.DESCRIPTION: pa.array([meaning.description for meaning in meanings], pa.string()),
        }
    )


def _rarity(counts: sparse.csr_array) -> np.ndarray:
    """(n_vocabulary,) of a (n_clusters, n_vocabulary) count matrix: the second factor of class-based TF-IDF."""
    n_clusters = max(int((counts.sum(axis=1) > 0).sum()), 1)
    rarity: np.ndarray = np.log1p(counts.sum() / n_clusters / np.maximum(counts.sum(axis=0), 1))
    return rarity


def describe(keywords: Sequence[str], titles: Sequence[str]) -> str:
    """A cluster's description by a template: its keywords, and the first titles as examples."""
    short = (textwrap.shorten(title, _TITLE_WIDTH, placeholder="...") for title in titles)
    examples = list(dict.fromkeys(title for title in short if title))[:_N_TITLES]
    parts = [", ".join(keywords), f"for example {'; '.join(examples)}" if examples else ""]
    return ": ".join(part for part in parts if part)
