"""Registry of all members but the LLM, and the stages that fit them. A new member is one module and one entry here."""

from typing import Any

from tsrec.config import Config, SasRecConfig, Section
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.member import FitInputs, Member, MemberKind
from tsrec.stage import Parents, Stage, on_call
from tsrec.store import Artifact, ArtifactWriter


def _kind(name: str, version: int, **more: Any) -> MemberKind:
    """An entry whose module, imported when it is used, is named as the member is."""
    module = f"tsrec.recommenders.{name.replace('-', '_')}"
    return MemberKind(name, version, on_call(module, "fit"), on_call(module, "load"), **more)


MEMBERS: dict[str, MemberKind] = {
    kind.name: kind
    for kind in (
        _kind("popular", 1),
        _kind("transitions", 1),
        _kind("item-knn", 1),
        _kind("text-similarity", 1, parents=("ingest", "embed")),
        _kind(
            "sasrec",
            4,
            config_type=SasRecConfig,
            section=lambda members: members.sasrec,
            parents=("ingest", "embed"),
            warm_starts=True,
        ),
    )
}


def member_settings(config: Config) -> dict[str, Any]:
    """The fields of `MemberSettings`, for the fingerprint of a stage that fits members itself."""
    versions = {name: MEMBERS[name].version for name in config.members.methods}
    return {
        "members": config.members.model_copy(update={"llms": ()}),
        # Without version 1, so that older artifacts keep their fingerprints.
        "versions": {name: version for name, version in versions.items() if version > 1},
    }


def member_parents(config: Config) -> tuple[str, ...]:
    """The stages that the members are fitted on."""
    roles = [role for name in config.members.methods for role in MEMBERS[name].parents]
    return tuple(dict.fromkeys(["ingest", *roles]))


def open_member(artifact: Artifact) -> Member:
    """The member that a stage of `MEMBER_STAGES` fitted."""
    key = artifact.manifest.key
    kind = MEMBERS[key.stage]
    return kind.load(artifact.path, kind.config_type.model_validate(key.config))


def _fit_stage(kind: MemberKind) -> Stage:
    def run(config: object, parents: Parents, out: ArtifactWriter) -> None:
        catalogue, histories = read_catalogue(parents["ingest"])
        kind.fit(FitInputs(histories, catalogue, config, parents, out.work, out.path))

    def section(config: Config) -> Section:
        return kind.section(config.members)

    bases, extending = ((kind.name, "ingest"), section) if kind.warm_starts else ((), None)
    return Stage(kind.name, kind.version, section, lambda _: kind.parents, run, bases=bases, extending=extending)


MEMBER_STAGES = tuple(_fit_stage(kind) for kind in MEMBERS.values())
