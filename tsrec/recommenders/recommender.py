"""The interface to all recommendations: item ids in, item ids out, opened from artifacts alone.

    recommender = Recommender.open("artifacts", "ml-100k")
    recommender.recommend([["50", "181"], []], k=5)

Needs neither the raw files nor the configuration: a `fuse` artifact knows what it was made from.
"""

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from tsrec.columns import FUSED, Split
from tsrec.config import Repeats
from tsrec.errors import ArtifactError, DataError
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders.catalogue import Catalogue, open_catalogue
from tsrec.recommenders.fuse_stage import llm_name, open_gate, proposers
from tsrec.recommenders.fused_member import FusedMember
from tsrec.recommenders.member import Member
from tsrec.recommenders.member_registry import open_member
from tsrec.recommenders.model_lookup import find_model
from tsrec.recommenders.ranking import Filter, Ranked, fill_with_popular
from tsrec.recommenders.served_members import EVERYTHING, find_served, open_served
from tsrec.recommenders.stage_settings import BeamSettings
from tsrec.store import Artifact, ArtifactStore, Lineage

_BATCH = 256  # histories ranked at once


@dataclass(frozen=True)
class Recommendation:
    """One recommended item. `score` is the recommender's own (log-probabilities for the fusion and the LLM), None
    where popularity filled the list; `proposed_by` names the members that proposed it, best rank first."""

    item_id: str
    score: float | None
    proposed_by: tuple[str, ...]


class Recommender:
    """A member of the family over a catalogue, or the fusion of all; made by `Recommender.open`."""

    def __init__(self, name: str, member: Member, catalogue: Catalogue, repeats: Repeats) -> None:
        self.name, self.member, self.catalogue, self.repeats = name, member, catalogue, repeats
        self._numbers = {item: number for number, item in enumerate(catalogue.item_ids)}
        self._by_popularity = catalogue.by_popularity()

    @classmethod
    def open(
        cls, store: ArtifactStore | str | Path, dataset: str, method: str = FUSED, model: str | None = None
    ) -> "Recommender":
        """Open the champion of a data set, or the newest finished recommender where there is no champion.

        Args:
            store: the artifact store, or where it is.
            dataset: name of the data set.
            method: `fused`, or one member as `metrics` names it (`tsrec` is the LLM).
            model: another than the champion, by the first digits of its fingerprint.

        Raises:
            ArtifactError: the store has no finished run of this data set, or no such model or method.
        """
        lineage = Lineage(store if isinstance(store, ArtifactStore) else ArtifactStore(store))
        return cls.from_artifact(lineage, find_model(lineage, dataset, model), method)

    @classmethod
    def from_artifact(
        cls,
        lineage: Lineage,
        fuse: Artifact,
        method: str = FUSED,
        repeats: Repeats | None = None,
        *,
        as_measured: bool = False,
    ) -> "Recommender":
        """The recommender of a `fuse` artifact.

        Args:
            lineage: of the store.
            fuse: the artifact.
            method: `fused`, or one member as `metrics` names it.
            repeats: the rule for repeats; None: the one that the artifact was made with.
            as_measured: serve the members that were measured, even where some are refitted on all events.

        Raises:
            ArtifactError: there is no such method.
        """
        served = None if as_measured else find_served(lineage, fuse)
        ingest, gate = lineage.parent(fuse, "ingest"), open_gate(fuse)
        catalogue = open_catalogue(ingest, EVERYTHING if served else (Split.TRAIN,))
        if method != FUSED and method not in gate.members:
            raise ArtifactError(f"no method {method!r}; there are {', '.join([FUSED, *gate.members])}")
        names = gate.members if method == FUSED else (method,)
        # The LLM is not trained again on all events; only its scores ask which items it knows.
        trained = open_catalogue(ingest) if served and gate.scored else catalogue
        is_trained = trained.train_counts > 0
        members = {name: _open_member(name, lineage, fuse, catalogue, served, is_trained) for name in names}
        settings = fuse.manifest.key.config  # not validated: models with older settings must still serve
        rules, n_scored = settings["rules"], settings["own"].get("llm_scores", 0)
        fused = FusedMember(members, gate, catalogue.popularity(), rules["n_candidates"], n_scored)
        return cls(method, fused if method == FUSED else members[method], catalogue, repeats or rules["repeats"])

    def of_member(self, name: str) -> "Recommender":
        """The recommender of one member of this fusion, over what is open already."""
        assert isinstance(self.member, FusedMember)
        alone = copy.copy(self)
        alone.name, alone.member = name, self.member.members[name]
        return alone

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int = 10, allowed: Collection[str] | None = None
    ) -> list[list[Recommendation]]:
        """The `k` best distinct items for each history, best first, or all that may be shown where they are fewer.

        Args:
            histories: item ids, oldest first. Ids that the catalogue lacks are skipped; where none is left, the list
                holds the most popular items.
            k: how many items.
            allowed: the item ids that may be recommended; None: all.

        Raises:
            DataError: a history is a text instead of ids: its letters would be taken for items, and skipped.
        """
        for place, history in enumerate(histories):
            if isinstance(history, str):
                raise DataError(
                    f"histories[{place}] is the text {history!r}; a history is a list of item ids, even of one: "
                    f"[[{history!r}]]"
                )
        mask = None
        if allowed is not None:
            mask = np.zeros(self.catalogue.n_items, dtype=bool)
            mask[self.numbers(allowed)] = True
        found = []
        for start in range(0, len(histories), _BATCH):
            pasts = [self.numbers(history) for history in histories[start : start + _BATCH]]
            blocked = pasts if self.repeats == "forbidden" else None
            found += self.rank(pasts, k, Filter(self.catalogue.n_items, blocked, mask))
        return found

    def numbers(self, item_ids: Iterable[str]) -> np.ndarray:
        """(H,) int64 row numbers of the items that the catalogue has."""
        known = [self._numbers[item] for item in item_ids if item in self._numbers]
        return np.array(known, dtype=np.int64)

    def unknown(self, item_ids: Iterable[str]) -> list[str]:
        """The ids that the catalogue lacks."""
        return [item for item in item_ids if item not in self._numbers]

    def rank(
        self, pasts: Sequence[np.ndarray], k: int, allow: Filter, given: Mapping[str, Ranked] | None = None
    ) -> list[list[Recommendation]]:
        """The same for item numbers, and a filter of each history in place of the rule for repeats.

        Args:
            pasts: arrays of item numbers, oldest first.
            k: how many items.
            allow: what may be shown.
            given: lists that need not be asked for, by the name of the member that made them.
        """
        given = given or {}
        if isinstance(self.member, FusedMember):
            ranked, member_ranks = self.member.rank_with_members(pasts, k, allow, given)
        else:
            ranked = given[self.name] if self.name in given else self.member.rank(pasts, k, allow)
            member_ranks = np.isfinite(ranked.scores)[..., None].astype(np.int32)
        names = self.member.gate.members if isinstance(self.member, FusedMember) else (self.name,)
        ranked = fill_with_popular(ranked, self._by_popularity, allow)
        proposed_by = iter(proposers(member_ranks.reshape(-1, len(names)), names).to_pylist())
        return [
            [
                Recommendation(
                    str(self.catalogue.item_ids[item]),
                    float(score) if np.isfinite(score) else None,
                    tuple(item_proposers) if np.isfinite(score) else (),
                )
                for item, score, item_proposers in zip(items, scores, proposed_by, strict=False)
                if item >= 0
            ]
            for items, scores in zip(*ranked, strict=True)
        ]


def _open_member(
    name: str,
    lineage: Lineage,
    fuse: Artifact,
    catalogue: Catalogue,
    served: Artifact | None,
    is_trained: np.ndarray,
) -> Member:
    """One member of the fusion, from the artifacts that `fuse` was made from, or from `served`.

    `is_trained` (N,) bool are the items that an LLM was trained on.

    Raises:
        ArtifactError: an artifact was made with settings that this version does not know.
    """
    role = next((role for role in fuse.manifest.key.parents if llm_name(role) == name), None)
    made_by = lineage.parent(fuse, role) if role else served or lineage.parent(lineage.parent(fuse, "candidates"), name)
    try:
        if role:
            from tsrec.recommenders.llm import load_llm  # torch and transformers: other members do without

            key = made_by.manifest.key
            settings = BeamSettings.model_validate(key.config["own"])
            trained, sids = (lineage.parent(made_by, stage) for stage in (trained_in(key.parents), "sids"))
            return load_llm(trained, sids, catalogue, settings, is_trained)
        return open_served(served, name) if served else open_member(made_by)
    except ValidationError as error:
        raise ArtifactError(_of_another_version(fuse, made_by, error)) from None


def _of_another_version(fuse: Artifact, made_by: Artifact, error: ValidationError) -> str:
    """What to say of a model whose settings are not those of today."""
    found = [
        ": ".join([*map(str, each["loc"]), each["msg"].removeprefix("Value error, ").partition(";")[0]])
        for each in error.errors(include_url=False)
    ]
    key, version = made_by.manifest.key, made_by.manifest.libraries.get("tsrec", "of its time")
    return (
        f"model {fuse.fingerprint} of {key.dataset} was made by another version of tsrec: the settings of its stage "
        f"{key.path} do not fit this one ({', '.join(found)}). Make a new model with `tsrec run`, or serve this one "
        f"with tsrec {version}, which made it"
    )
