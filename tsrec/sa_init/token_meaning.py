"""What a SID token means: the keywords that set its item cluster apart, and a short description.

All items whose SID carries a token form its *item cluster*. Knows nothing of models or embeddings.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import sparse

from tsrec.columns import Columns as C
from tsrec.sid import SidSpace, parse_token

_N_TITLES = 2
_TITLE_WIDTH = 60


@dataclass(frozen=True)
class TokenMeaning:
    """One SID token in words. A token without items has neither keywords nor a description."""

    token: str
    n_items: int
    keywords: tuple[str, ...]
    description: str


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
    """Choose, for every token, the keywords that are frequent in its cluster and rare outside it.

    Class-based TF-IDF (BERTopic, arXiv 2203.05794, eq. 2), with a level's clusters as the classes: a keyword that
    `count` items of a cluster and `total` items altogether have scores `count * log(1 + mean / total)`, where `mean`
    is the mean number of keywords of a cluster of that level. Equal scores: the more frequent in the cluster first,
    then by alphabet. Letter case and repeats within an item do not count.

    Args:
        codes: (n_items, n_levels), integer.
        item_keywords: keywords of each item, any number.
        titles: title of each item; those of the most typical items enter the description.
        space: the tokens' numbering.
        n_keywords: the most that a token gets.

    Returns:
        One meaning per token of the space, in flat order.
    """
    has_keyword, vocabulary = _keyword_matrix(item_keywords)  # (n_items, n_vocabulary)
    tokens, meanings = space.tokens(), []
    for level, size in enumerate(space.sizes):
        in_cluster = sparse.csr_array(
            (np.ones(len(codes)), (codes[:, level].astype(np.int64), np.arange(len(codes)))), shape=(size, len(codes))
        )
        scores, counts = _distinguishing_scores(in_cluster @ has_keyword)
        for code in range(size):
            token = tokens[space.offsets[level] + code]
            members = np.flatnonzero(codes[:, level] == code)
            best = _best(scores[[code]], counts[[code]], n_keywords)
            keywords = tuple(vocabulary[column] for column in best)
            typical = members[_typical_first(has_keyword[members][:, best], scores[[code]].toarray()[0, best])]
            description = _describe(keywords, [titles[item] for item in typical])
            meanings.append(TokenMeaning(token, len(members), keywords, description))
    return meanings


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


def _keyword_matrix(item_keywords: Sequence[Sequence[str]]) -> tuple[sparse.csr_array, list[str]]:
    """Which item has which keyword, as 0 and 1; the columns in alphabetical order."""
    cleaned = [{" ".join(keyword.lower().split()) for keyword in keywords} - {""} for keywords in item_keywords]
    vocabulary = sorted(set().union(*cleaned))
    column_of = {keyword: column for column, keyword in enumerate(vocabulary)}
    rows = np.repeat(np.arange(len(cleaned)), [len(keywords) for keywords in cleaned])
    columns = np.asarray([column_of[keyword] for keywords in cleaned for keyword in sorted(keywords)], dtype=np.int64)
    shape = (len(cleaned), len(vocabulary))
    return sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=shape), vocabulary


def _distinguishing_scores(counts: sparse.csr_array) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Class-based TF-IDF of a (n_clusters, n_vocabulary) count matrix, and the counts again."""
    counts = sparse.csr_array(counts)
    n_clusters = max(int((counts.sum(axis=1) > 0).sum()), 1)
    rarity = np.log1p(counts.sum() / n_clusters / np.maximum(counts.sum(axis=0), 1))  # (n_vocabulary,)
    scores = counts.copy()
    scores.data = counts.data * rarity[counts.indices]
    return scores, counts


def _best(scores: sparse.csr_array, counts: sparse.csr_array, n_keywords: int) -> np.ndarray:
    """Columns of the best keywords of one cluster; a higher column is later in the alphabet."""
    order = np.lexsort((scores.indices, -counts.data, -scores.data))
    return scores.indices[order[:n_keywords]]


def _typical_first(has_keyword: sparse.csr_array, scores: np.ndarray) -> np.ndarray:
    """Order a cluster's items by how much of its keywords they have, ties in the order of the items table."""
    return np.argsort(-(has_keyword @ scores), kind="stable")


def _describe(keywords: Sequence[str], titles: Sequence[str]) -> str:
    short = (textwrap.shorten(title, _TITLE_WIDTH, placeholder="...") for title in titles)
    examples = list(dict.fromkeys(title for title in short if title))[:_N_TITLES]
    parts = [", ".join(keywords), f"for example {'; '.join(examples)}" if examples else ""]
    return ": ".join(part for part in parts if part)
