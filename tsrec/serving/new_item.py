"""An item that the catalogue lacks: the SID that it would get, its nearest items, and whom it would be shown to.

Nothing is trained: the text encoder and the codebooks are those that the model was made with, as a refresh uses them.
"""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

from tsrec.columns import Columns as C
from tsrec.config import IngestConfig, SidsConfig
from tsrec.data.cleaning import clean_items
from tsrec.embed.encoder import encode, encoder_of
from tsrec.errors import DataError
from tsrec.recommenders.text_similarity import LAST, TextSimilarity
from tsrec.serving.catalogue_views import CatalogueViews
from tsrec.serving.live_model import LiveModel
from tsrec.serving.problems import RefusedError
from tsrec.sid.space import format_token
from tsrec.sid.vectors import unit_rows
from tsrec.sids.free_sids import assign_free
from tsrec.sids.quantization import FrozenQuantizer
from tsrec.sids.quantizer_registry import open_quantizer

_NEAREST = 10
_FIRST = 10  # places of a user's list by text
_LIKELIEST = 200  # users whose lists are made


class NewItems:
    """Of one live model: its encoder and codebooks, opened once."""

    def __init__(self, live: LiveModel) -> None:
        self.live, self._views = live, live.once(CatalogueViews)

    def place(self, title: str, text: str) -> dict[str, Any]:
        """Where an item of this title and text would stand.

        Raises:
            DataError: it has no text.
            RefusedError: (501) the model was made without text embeddings or codebooks.
        """
        vector = self._encoded(title, text)
        sid = self._sid(vector)
        unit = unit_rows(vector[None])[0]
        return {
            "sid": sid,
            "tokens": self._views.tokens.in_words(sid),
            "nearest": self._views.nearest(unit, _NEAREST),
            "for_users": self._users(unit),
        }

    def _encoded(self, title: str, text: str) -> np.ndarray:
        """(D,) as the embed stage would have it."""
        if self._views.embed is None:
            raise RefusedError(
                501, "this model was made without text embeddings, so it cannot place an item by its text"
            )
        settings = IngestConfig.model_validate(self.live.ingest.manifest.key.config)
        raw = pd.DataFrame({C.ITEM: [""], C.TITLE: [title], C.DESCRIPTION: [text]})
        items, _ = clean_items(raw, settings.text_fields, settings.max_text_chars)
        (whole,) = items[C.TEXT]
        if not whole:
            fields = ", ".join(settings.text_fields)
            raise DataError(f"title and text say nothing; this model reads an item's {fields}")
        vector: np.ndarray = encode(self._encoder, [[whole]])[0]
        return vector

    def _sid(self, vector: np.ndarray) -> list[str]:
        """The nearest SID that is free, or the nearest where items may share one."""
        quantizer, config = self._quantizer
        n_beside = self._n_dimensions - len(vector)  # co-occurrence, of which a new item has none
        vectors = np.pad(vector, (0, n_beside))[None]
        codes, _ = quantizer.quantize(vectors)
        if config.unique:
            codes, _ = assign_free(quantizer.transform.encode(vectors), quantizer.codebooks, self._taken)
        return [format_token(level, int(code)) for level, code in enumerate(codes[0])]

    def _users(self, unit: np.ndarray) -> list[dict[str, Any]]:
        """Users whose lists by text would have the item among their first, and at which rank, items that they have
        aside; of those to whose last items it is most like."""
        member = self.live.fusion.members.get("text-similarity")
        if not isinstance(member, TextSimilarity):
            return []
        likeness, users = member.search.vectors @ unit, self.live.users
        n_events = np.diff(users.offsets)
        recency = np.repeat(users.offsets[1:], n_events) - np.arange(len(users.items))
        weights = np.where(recency <= LAST, 1 / recency, 0)
        scores = np.add.reduceat(likeness[users.items] * weights, users.offsets[:-1])
        shares = scores / np.add.reduceat(weights, users.offsets[:-1])
        found = []
        for user in np.argsort(-shares, kind="stable")[:_LIKELIEST]:
            mine = slice(users.offsets[user], users.offsets[user + 1])
            others = weights[mine] @ member.search.vectors[users.items[mine]] @ member.search.vectors.T
            others[users.items[mine]] = -np.inf
            rank = int((others > scores[user]).sum()) + 1
            if rank <= _FIRST:
                found.append({"user_id": users.users[int(user)].as_py(), "rank": rank, "score": float(shares[user])})
        return sorted(found, key=lambda one: (one["rank"], -one["score"]))

    @cached_property
    def _encoder(self) -> SentenceTransformer:
        assert self._views.embed is not None
        return encoder_of(self._views.embed)

    @cached_property
    def _quantizer(self) -> tuple[FrozenQuantizer, SidsConfig]:
        if not self.live.sids.has("codebooks"):
            raise RefusedError(501, "the SIDs of this model were imported: there are no codebooks to place an item by")
        config = SidsConfig.model_validate(self.live.sids.manifest.key.config)
        return open_quantizer(self.live.sids, config), config

    @cached_property
    def _n_dimensions(self) -> int:
        """Of what was quantized: a text embedding and, in some models, what stands beside it."""
        sids = self.live.sids
        beside = sids.matrix("item_factors", C.EMBEDDING).shape[1] if sids.has("item_factors") else 0
        assert self._views.embed is not None
        return int(self._views.embed.matrix("item_embeddings", C.EMBEDDING).shape[1]) + beside

    @cached_property
    def _taken(self) -> np.ndarray:
        """(K, L) SIDs of the items, and of those that have gone."""
        sids = self.live.sids
        tables = [sids.matrix(name, C.CODES) for name in ("item_sids", "gone_sids") if sids.has(name)]
        return np.concatenate(tables).astype(np.int64)
