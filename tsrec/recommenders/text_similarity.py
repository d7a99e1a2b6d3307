"""Text similarity: items whose texts are like those of the last items. Nothing is trained.

An item's score is the sum of its cosines with the last items, weighted by 1/recency. That is one inner product with
the weighted sum of their vectors, so an exact nearest-neighbour search finds the best items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import sparse

from tsrec.columns import Columns as C
from tsrec.config import Section
from tsrec.recommenders.exact_search import ExactSearch
from tsrec.recommenders.member import FitInputs
from tsrec.recommenders.ranking import Filter, Ranked, empty_lists, nearest_items
from tsrec.recommenders.recency import last_events
from tsrec.sid.vectors import unit_rows

_FILE = "item_vectors.safetensors"
LAST = 10  # events of a history that count, as of transitions


@dataclass(frozen=True)
class TextSimilarity:
    """Searches the items' vectors, each of length 1."""

    search: ExactSearch

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """Items by their weighed cosine; nothing for an empty history."""
        rows, items, recency = last_events(pasts, LAST)
        had = sparse.csr_matrix((1 / recency, (rows, items)), shape=(len(pasts), len(self.search.vectors)))
        known = np.flatnonzero(np.diff(had.indptr))
        ranked = empty_lists(len(pasts), k)
        if len(known):
            queries = sparse.csr_matrix(had[known]) @ self.search.vectors
            ranked.items[known], ranked.scores[known] = nearest_items(self.search, queries, k, allow.for_rows(known))
        return ranked


def fit(inputs: FitInputs) -> None:
    """Keep the items' text embeddings, each scaled to length 1."""
    vectors = unit_rows(inputs.parents["embed"].matrix("item_embeddings", C.EMBEDDING))
    save_file({"vectors": vectors}, inputs.folder / _FILE)


def load(folder: Path, _: Section) -> TextSimilarity:
    """Open what `fit` saved."""
    return TextSimilarity(ExactSearch(load_file(folder / _FILE)["vectors"]))
