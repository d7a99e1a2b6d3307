"""All members beside the LLM, and the stages that fit them. A new member is one module and one entry here."""

from tsrec.config import ItemKnnConfig, PopularConfig, SasRecConfig, TextSimilarityConfig, TransitionsConfig
from tsrec.recommenders import item_knn, popular, sasrec, text_similarity, transitions
from tsrec.recommenders.member import FitInputs, Member, MemberKind, read_catalogue
from tsrec.stage import Parents, Stage
from tsrec.store import Artifact, ArtifactWriter

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
            "sasrec", 2, SasRecConfig, lambda c: c.members.sasrec, sasrec.fit, sasrec.load, parents=("ingest", "embed")
        ),
    )
}


def open_member(artifact: Artifact) -> Member:
    """The member that a stage of `MEMBER_STAGES` fitted."""
    kind = MEMBERS[artifact.manifest.key.stage]
    section = kind.config_type.model_validate(artifact.manifest.key.config)
    return kind.load(artifact.path, section)


def _fit_stage(kind: MemberKind) -> Stage:
    def run(config: object, parents: Parents, out: ArtifactWriter) -> None:
        catalogue, histories = read_catalogue(parents["ingest"])
        kind.fit(FitInputs(histories, catalogue, config, parents, out.work, out.path))

    return Stage(kind.name, kind.version, kind.section, lambda _: kind.parents, run)


MEMBER_STAGES = tuple(_fit_stage(kind) for kind in MEMBERS.values())
