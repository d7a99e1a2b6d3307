"""A model that serves: its members, opened once for all methods, and what people ask about it."""

import json
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tsrec.columns import ALL, FUSED
from tsrec.columns import Columns as C
from tsrec.errors import DataError
from tsrec.recommenders.explain import Explainer
from tsrec.recommenders.fuse import llm_name
from tsrec.recommenders.fused import Fused
from tsrec.recommenders.recommender import Recommender
from tsrec.recommenders.served import served_of
from tsrec.serving.user_histories import UserHistories
from tsrec.store import Artifact, Lineage


class LiveModel:
    """One model, open; `methods` are `fused` and its members. Made from a `fuse` artifact whose files were checked.

    Tables are read when they are first asked for.

    Raises:
        ArtifactError: the model, or something that it was made from, is gone or damaged.
    """

    def __init__(self, lineage: Lineage, fuse: Artifact) -> None:
        self.fuse, self.lineage = fuse, lineage
        self.fingerprint, self.dataset = fuse.fingerprint, fuse.manifest.key.dataset
        served = served_of(lineage, fuse)
        self.served = served.fingerprint if served else None
        fused = Recommender.of(lineage, fuse)
        assert isinstance(fused.member, Fused)
        self.fusion, self.catalogue = fused.member, fused.catalogue
        self._recommenders = {FUSED: fused} | {name: fused.of_member(name) for name in self.fusion.gate.members}
        self.methods = tuple(self._recommenders)
        self.llms = tuple(name for role in fuse.manifest.key.parents if (name := llm_name(role)) in self.methods)
        self.explainer = Explainer(lineage, fuse)

    @cached_property
    def made(self) -> dict[type, Any]:
        """What others make of this model, kept as long as it is."""
        return {}

    def recommender(self, method: str) -> Recommender:
        """The recommender of a method. Raises DataError where there is none."""
        if method not in self._recommenders:
            raise DataError(f"no method {method!r}; there are {', '.join(self.methods)}")
        return self._recommenders[method]

    def history_of(self, user_id: str) -> tuple[str, ...]:
        """All item ids of a user, oldest first. Raises DataError for a user without events."""
        mine = self.users.of_user(user_id)
        if not len(mine):
            raise DataError(f"no user {user_id!r} has any interaction")
        return tuple(self.catalogue.item_ids[mine])

    @cached_property
    def users(self) -> UserHistories:
        """Every user's events, as ingested."""
        return UserHistories.of(self.ingest)

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
        return self.lineage.ancestor(self.lineage.parent(self.fuse, "decode"), "sa_init").frame("token_semantics")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the fusion, as its manifest has them."""
        settings: dict[str, Any] = json.loads(json.dumps(self.fuse.manifest.key.config, default=str))
        return settings

    def metrics(self) -> pd.DataFrame | None:
        """Every method's metrics over all targets, with intervals, by the newest evaluation; None: there is none."""
        of_it = [
            artifact
            for artifact in self.lineage.listed
            if artifact.manifest.key.stage == "evaluate"
            and artifact.manifest.key.parents.get("fuse") == self.fingerprint
        ]
        if not of_it:
            return None
        metrics = self.lineage.verified(of_it[-1]).frame("metrics")
        return metrics[metrics[C.SLICE] == ALL].reset_index(drop=True)

    @cached_property
    def ingest(self) -> Artifact:
        """The tables of items and interactions that it was made from."""
        return self.lineage.parent(self.fuse, "ingest")

    @cached_property
    def sids(self) -> Artifact:
        """The SIDs and codebooks that its LLM was trained on."""
        return self.lineage.parent(self.lineage.parent(self.fuse, "decode"), "sids")
