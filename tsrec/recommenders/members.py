"""All members beside the LLM, and the stages that fit them. A new member is one module and one entry here."""

from collections.abc import Iterable

from tsrec.config import (
    ContinuedSasRec,
    ItemKnnConfig,
    PopularConfig,
    SasRecConfig,
    TextSimilarityConfig,
    TransitionsConfig,
)
from tsrec.recommenders import item_knn, popular, sasrec, text_similarity, transitions
from tsrec.recommenders.member import FitInputs, Member, MemberKind, read_catalogue
from tsrec.stage import Parents, Stage
from tsrec.store import Artifact, ArtifactWriter, is_base

MEMBERS: dict[str, MemberKind] = {
    kind.name: kind
    for kind in (
        MemberKind("popular", 1, PopularConfig, lambda c: c.members.popular, popular.fit, popular.load),
        MemberKind(
            "transitions", 1, TransitionsConfig, lambda c: c.members.transitions, transitions.fit, transitions.load
        ),
        MemberKind("item-knn", 1, ItemKnnConfig, lambda c: c.members.item_knn, item_knn.fit, item_knn.load),
        MemberKind(
            "text-similarity",
            1,
            TextSimilarityConfig,
            lambda c: c.members.text_similarity,
            text_similarity.fit,
            text_similarity.load,
            parents=("ingest", "embed"),
        ),
        MemberKind(
            "sasrec",
            3,
            SasRecConfig,
            lambda c: c.members.sasrec,
            sasrec.fit,
            sasrec.load,
            parents=("ingest", "embed"),
            extending=lambda c: ContinuedSasRec(whole=c.members.sasrec, go_on=c.refresh.sasrec),
            stops_early=lambda settings: settings.patience is not None,
        ),
    )
}


def member_versions(names: Iterable[str]) -> dict[str, int]:
    """What the settings of a stage that fits members itself hold of their code, so that its fingerprint covers it.

    First versions are left out: artifacts are older than this entry.
    """
    return {name: MEMBERS[name].version for name in names if MEMBERS[name].version > 1}


def open_member(artifact: Artifact) -> Member:
    """The member that a stage of `MEMBER_STAGES` fitted."""
    key = artifact.manifest.key
    kind = MEMBERS[key.stage]
    settings = key.config["whole"] if any(map(is_base, key.parents)) else key.config
    return kind.load(artifact.path, kind.config_type.model_validate(settings))


def _fit_stage(kind: MemberKind) -> Stage:
    def run(config: object, parents: Parents, out: ArtifactWriter) -> None:
        catalogue, histories = read_catalogue(parents["ingest"])
        kind.fit(FitInputs(histories, catalogue, config, parents, out.work, out.path))

    bases = (kind.name, "ingest") if kind.extending else ()
    return Stage(
        kind.name, kind.version, kind.section, lambda _: kind.parents, run, bases=bases, extending=kind.extending
    )


MEMBER_STAGES = tuple(_fit_stage(kind) for kind in MEMBERS.values())
