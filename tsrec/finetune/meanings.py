"""What SID tokens mean, as TS-Align teaches it: read from the stages that found it out, by what a run is about."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsrec.columns import Columns as C
from tsrec.config import FinetuneConfig, Semantics
from tsrec.sid.clusters import ItemCluster, prefix_clusters, token_clusters
from tsrec.sid.space import parse_token
from tsrec.stage import Parents
from tsrec.store import Artifact


@dataclass(frozen=True)
class Meaning:
    """A cluster in words. Where it has a description or keywords alone, the one stands for the other."""

    description: str
    keywords: str


def meanings_of(artifact: Artifact) -> dict[str, Meaning]:
    """Token -> what its cluster means, for all that mean anything; from the table `token_semantics`."""
    # Not through pandas, where a missing description is NaN, which passes for a text.
    rows = artifact.table("token_semantics", [C.TOKEN, C.DESCRIPTION, C.KEYWORDS]).to_pylist()
    found = {}
    for row in rows:
        keywords = ", ".join(row[C.KEYWORDS])
        meaning = Meaning(row[C.DESCRIPTION] or keywords, keywords or row[C.DESCRIPTION] or "")
        if meaning.description:
            found[row[C.TOKEN]] = meaning
    return found


def read_meanings(parents: Parents, semantics: Semantics) -> dict[str, Meaning]:
    """What TS-Align teaches, by token or beginning of a SID: what `sa_init` says of single tokens, of the first level
    alone where only beginnings are asked for; and what `semantics` says, where that stage is a parent."""
    single = meanings_of(parents["sa_init"])
    if semantics == "prefix":
        single = {token: meaning for token, meaning in single.items() if parse_token(token)[0] == 0}
    return single | (meanings_of(parents["semantics"]) if "semantics" in parents else {})


def groups_of(codes: np.ndarray, has_title: np.ndarray, config: FinetuneConfig) -> list[ItemCluster]:
    """Groups of about `shared_items` items that share a token, or a beginning of their SIDs, drawn at random; every
    item that has a title, and a companion, stands in one group of each of its clusters.

    Args:
        codes: (n_items, n_levels), integer.
        has_title: (n_items,) bool.
    """
    random = np.random.default_rng([config.seed, 3])
    groups = []
    for cluster in _clusters(codes, config):
        items = random.permutation(cluster.items[has_title[cluster.items]])
        n_groups = min(-(-len(items) // config.shared_items), len(items) // 2)
        if n_groups:
            groups += [ItemCluster(cluster.token, cluster.level, part) for part in np.array_split(items, n_groups)]
    return groups


def _clusters(codes: np.ndarray, config: FinetuneConfig) -> Sequence[ItemCluster]:
    """What `finetune.semantics` is about; a first token is a beginning too, and stands there once."""
    if config.semantics == "prefix":
        return prefix_clusters(codes)
    return token_clusters(codes) + (prefix_clusters(codes, from_level=1) if config.semantics == "both" else [])
