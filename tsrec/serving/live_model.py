"""A model that serves: its members, opened once for all methods, and what people ask about it."""

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from tsrec.columns import FUSED, LLM
from tsrec.columns import Columns as C
from tsrec.errors import DataError
from tsrec.pipeline.promotion import evaluation_of
from tsrec.recommenders.explain import Explainer
from tsrec.recommenders.fuse_stage import llm_name
from tsrec.recommenders.fused_member import FusedMember
from tsrec.recommenders.recommender import Recommender
from tsrec.recommenders.served_members import find_served
from tsrec.serving.answering import Request, answer_all
from tsrec.serving.asked import Asked
from tsrec.serving.llm_lists import LlmLists
from tsrec.serving.user_histories import UserHistories
from tsrec.serving.wishes import Wish
from tsrec.store import Artifact, ArtifactStore, Lineage

Made = TypeVar("Made")

_WARM_WITH = (2, 20)  # items of the histories that a model is warmed with


class LiveModel:
    """One model, open; `methods` are `fused` and its members. Tables are read when they are first asked for.

    Args:
        lineage: of the store.
        fuse: the model, its files checked.
        cache_entries: lists of each LLM that are kept.

    Raises:
        ArtifactError: the model, or something that it was made from, is gone or damaged.
    """

    def __init__(self, lineage: Lineage, fuse: Artifact, cache_entries: int) -> None:
        self.fuse, self.lineage = fuse, lineage
        self.fingerprint, self.dataset = fuse.fingerprint, fuse.manifest.key.dataset
        served = find_served(lineage, fuse)
        self.served = served.fingerprint if served else None
        fused = Recommender.from_artifact(lineage, fuse)
        assert isinstance(fused.member, FusedMember)
        self.fusion, self.catalogue = fused.member, fused.catalogue
        self._recommenders = {FUSED: fused} | {name: fused.of_member(name) for name in self.fusion.gate.members}
        self.methods = tuple(self._recommenders)
        self.llms = tuple(name for role in fuse.manifest.key.parents if (name := llm_name(role)) in self.methods)
        self.llm_lists = {
            name: LlmLists(
                cast(Any, self.fusion.members[name]),
                self.fusion.n_candidates,
                cache_entries,
                self.fusion if self.fusion.gate.scored and name == LLM else None,
            )
            for name in self.llms
        }
        self.explainer = Explainer(lineage, fuse)
        # Found now, while the store is there: what is asked later reads local files alone.
        decode = lineage.parent(fuse, "decode")
        self.ingest, self.sids = lineage.parent(fuse, "ingest"), lineage.parent(decode, "sids")
        self._meanings, self.evaluation = lineage.ancestor(decode, "sa_init"), evaluation_of(lineage, fuse)
        self._made: dict[Any, Any] = {}
        self.users = UserHistories.of(self.ingest)  # every user's events, as ingested

    def recommender(self, method: str) -> Recommender:
        """The recommender of a method. Raises DataError where there is none."""
        if method not in self._recommenders:
            raise DataError(f"no method {method!r}; there are {', '.join(self.methods)}")
        return self._recommenders[method]

    def warm(self) -> None:
        """Ask every member once and again, so that the first who asks does not pay for it. In no thread but the one
        that opened the model, before it serves."""
        popular = tuple(self.catalogue.item_ids[self.catalogue.by_popularity()])
        for n_items in _WARM_WITH:
            some = [Asked.of(self, Wish(popular[:n_items], method=method)) for method in self.methods]
            for lists in self.llm_lists.values():
                lists.warm(some[0])
            answer_all([Request(asked, {}) for asked in some])

    def once(self, kind: Callable[["LiveModel"], Made]) -> Made:
        """What `kind` makes of this model: made by the first who asks, and kept as long as the model is."""
        if kind not in self._made:
            self._made[kind] = kind(self)
        made: Made = self._made[kind]
        return made

    def lineage_now(self) -> Lineage:
        """The store's artifacts as they are now, by a connection of this very process."""
        store = self.lineage.store
        return Lineage(ArtifactStore(store.remote.url if store.remote else store.root))

    @cached_property
    def items(self) -> pd.DataFrame:
        """The catalogue's table, in the order of item numbers."""
        return self.ingest.frame("items")

    @cached_property
    def codes(self) -> np.ndarray:
        """(N, L) the items' SIDs."""
        return self.sids.matrix("item_sids", C.CODES)

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """What each SID token means."""
        return self._meanings.frame("token_semantics")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the fusion, as its manifest has them."""
        settings: dict[str, Any] = json.loads(json.dumps(self.fuse.manifest.key.config, default=str))
        return settings
