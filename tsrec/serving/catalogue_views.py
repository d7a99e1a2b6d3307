"""What people ask about the catalogue of a live model: its items, those like one, its tokens, its users.

Everything is read from the model's artifacts, once per model and when it is first asked for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.errors import ArtifactError
from tsrec.recommenders.ranking import NO_ITEM, Filter
from tsrec.recommenders.text_similarity import TextSimilarity
from tsrec.serving.column_values import ColumnValues
from tsrec.serving.live_model import LiveModel
from tsrec.serving.problems import RefusedError
from tsrec.serving.title_search import TitleSearch
from tsrec.serving.token_tree import TokenTree
from tsrec.sid.vectors import unit_rows
from tsrec.store import Artifact

_APART = (C.ITEM, C.TITLE, C.TEXT)
_TOGETHER = ("item-knn", "transitions")
"""Members that know what is bought together, the best first."""


class CatalogueViews:
    """Of one live model; items are row numbers here."""

    def __init__(self, live: LiveModel) -> None:
        self.live = live
        self.popularity = live.catalogue.train_counts

    def number(self, item_id: str) -> int | None:
        """The row of an item; None where the catalogue lacks it."""
        found = self.live.recommender(self.live.methods[0]).numbers([item_id])
        return int(found[0]) if len(found) else None

    def titled(self, items: Iterable[int]) -> list[dict[str, Any]]:
        """Ids and titles."""
        return [{"item_id": str(self._ids[item]), "title": self.titles[item]} for item in items]

    def scored(self, items: Sequence[int], scores: Sequence[float]) -> list[dict[str, Any]]:
        """Ids and titles with a number each."""
        numbers = [{"score": float(score)} for score in scores]
        return [own | number for own, number in zip(self.titled(items), numbers, strict=True)]

    def found(self, items: Sequence[int]) -> list[dict[str, Any]]:
        """Ids and titles with the other columns of the items table, as JSON has them."""
        rows = self.live.items.iloc[list(items)].drop(columns=[*_APART], errors="ignore").to_dict("records")
        columns = [{str(name): plain(value) for name, value in row.items()} for row in rows]
        return [own | {"columns": more} for own, more in zip(self.titled(items), columns, strict=True)]

    def having(self, where: Mapping[str, str], field: str) -> np.ndarray | None:
        """(M,) the items that have all these values in these columns, ascending; None: nothing is asked of them. It was
        asked in `field` of a request.

        Raises:
            RefusedError: (422) there is no such column.
        """
        found: np.ndarray | None = None
        for column, value in where.items():
            try:
                mine = self.columns.items(column, value)
            except KeyError:
                there = ", ".join(self.columns.names) or "none"
                raise RefusedError(422, f"{field}: there is no column {column!r}; there are {there}", field) from None
            found = mine if found is None else np.intersect1d(found, mine, assume_unique=True)
        return found

    def item(self, item: int) -> dict[str, Any]:
        """All that is known of an item."""
        sid = self.tokens.sid(item)
        text = plain(self.live.items[C.TEXT].iloc[item]) if C.TEXT in self.live.items else None
        (found,) = self.found([item])
        return {**found, "text": text or "", "sid": sid, "tokens": self.tokens.in_words(sid)}

    def popular(self, k: int) -> list[dict[str, Any]]:
        """The items with the most events."""
        items = self.live.catalogue.by_popularity()[:k].tolist()
        return self.scored(items, self.popularity[items].tolist())

    def alike(self, item: int, k: int) -> list[dict[str, Any]] | None:
        """The items whose texts are most like an item's; the score is the cosine. None: the model has no embeddings."""
        if self.text_vectors is None:
            return None
        return self.nearest(self.text_vectors[item], k, without=item)

    def nearest(self, vector: np.ndarray, k: int, without: int = NO_ITEM) -> list[dict[str, Any]]:
        """The items whose texts lie nearest to a (D,) vector of length 1."""
        assert self.text_vectors is not None
        cosines = self.text_vectors @ vector
        if without >= 0:
            cosines[without] = -np.inf
        k = min(k, len(cosines) - (without >= 0))
        items = np.argpartition(-cosines, k - 1)[:k] if k else np.empty(0, dtype=np.int64)
        items = items[np.lexsort((items, -cosines[items]))]
        return self.scored(items.tolist(), cosines[items].tolist())

    def bought_together(self, item: int, k: int) -> list[dict[str, Any]] | None:
        """The items that users have beside one; None where no member of this model counts that."""
        member = next((self.live.fusion.members[name] for name in _TOGETHER if name in self.live.methods), None)
        if member is None:
            return None
        itself = np.array([item], dtype=np.int64)  # as a whole history
        items, scores = (rows[0] for rows in member.rank([itself], k, Filter(self.live.catalogue.n_items, [itself])))
        there = items >= 0
        return self.scored(items[there].tolist(), scores[there].tolist())

    def sharing(self, item: int, k: int) -> list[dict[str, Any]]:
        """The items that share the most tokens from the first on; the score is how many."""
        codes = self.live.codes
        n_shared = np.cumprod(codes == codes[item], axis=1).sum(axis=1)
        n_shared[item] = 0
        order = np.lexsort((-self.popularity, -n_shared))
        items = order[n_shared[order] > 0][:k].tolist()
        return self.scored(items, n_shared[items].tolist())

    @cached_property
    def titles(self) -> list[str]:
        """The items' titles; empty where there is none."""
        return [plain(title) or "" for title in self.live.items[C.TITLE].tolist()]

    @cached_property
    def search(self) -> TitleSearch:
        """Items by words of their titles."""
        return TitleSearch(self.titles, self.popularity)

    @cached_property
    def columns(self) -> ColumnValues:
        """What lists and searches can be narrowed to."""
        return ColumnValues(self.live.items, _APART)

    @cached_property
    def tokens(self) -> TokenTree:
        """What the tokens mean."""
        return TokenTree(self.live.codes, self.live.tokens.to_dict("records"), self._told())

    @cached_property
    def text_vectors(self) -> np.ndarray | None:
        """(N, D) float32 of length 1, of the items' texts; None where the model was made without."""
        member = self.live.fusion.members.get("text-similarity")
        if isinstance(member, TextSimilarity):
            return member.search.vectors
        embed = self.embed
        return None if embed is None else unit_rows(embed.matrix("item_embeddings", C.EMBEDDING))

    @cached_property
    def embed(self) -> Artifact | None:
        """The text embeddings that it was made from; None where it was made without."""
        return self._ancestor("embed")

    def _told(self) -> dict[str, str]:
        """What TS-Align told the LLM of tokens; nothing where the LLM was not aligned."""
        semantics = self._ancestor("semantics")
        rows = semantics.table("token_semantics", [C.TOKEN, C.DESCRIPTION]).to_pylist() if semantics else []
        return {row[C.TOKEN]: row[C.DESCRIPTION] for row in rows if row[C.DESCRIPTION]}

    def _ancestor(self, stage: str) -> Artifact | None:
        with suppress(ArtifactError):
            return self.live.lineage_now().ancestor(self.live.fuse, stage)
        return None

    @property
    def _ids(self) -> np.ndarray:
        return self.live.catalogue.item_ids


def plain(value: Any) -> Any:
    """A value of a table as JSON has it: lists for arrays, null for what is missing or infinite, texts for times."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool) else str(value)
