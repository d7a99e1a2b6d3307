"""The members that serve: after a model is measured, its members are fitted again on all events, test included.

They cannot be measured on events that they have seen, so the model is measured first. The LLM, the gate and the model's
own artifacts stay as they are. `Recommender` opens the refitted members where there are any.
"""

from tsrec.columns import Split
from tsrec.config import Config, MembersConfig, canonical
from tsrec.recommenders.catalogue import read_catalogue_as_train
from tsrec.recommenders.member import FitInputs, Member
from tsrec.recommenders.member_registry import MEMBERS, member_settings
from tsrec.recommenders.stage_settings import MemberSettings
from tsrec.store import Artifact, ArtifactKey, ArtifactStore, ArtifactWriter, Lineage, base_role
from tsrec.store.champions import SERVED

EVERYTHING = tuple(Split)

_VERSION = 2


def fit_served(store: ArtifactStore, fuse: Artifact, config: Config) -> Artifact:
    """Fit the members of a finished model on all events, each in a folder. SASRec continues from its measured weights.

    Args:
        store: the store.
        fuse: the model.
        config: the settings that it was made with.
    """
    return store.build(served_key(fuse, config), lambda out: _fit(Lineage(store), fuse, config, out))


def served_key(fuse: Artifact, config: Config) -> ArtifactKey:
    """The key of the artifact that `fit_served` makes."""
    settings = MemberSettings(**member_settings(config))
    dataset, parents = fuse.manifest.key.dataset, {"fuse": fuse.fingerprint}
    return ArtifactKey.from_inputs(dataset, SERVED, _VERSION, canonical(settings), parents)


def find_served(lineage: Lineage, fuse: Artifact) -> Artifact | None:
    """The newest artifact that `fit_served` made for a model, its files verified; None where there is none."""
    newest = lineage.newest_of(SERVED, "fuse", fuse.fingerprint)
    return lineage.verified(newest) if newest else None


def open_served(served: Artifact, name: str) -> Member:
    """The member `name` of an artifact that `fit_served` made."""
    members = MembersConfig.model_validate(served.manifest.key.config["members"])
    return MEMBERS[name].load(served.path / name, MEMBERS[name].section(members))


def _fit(lineage: Lineage, fuse: Artifact, config: Config, out: ArtifactWriter) -> None:
    ingest, candidates = lineage.parent(fuse, "ingest"), lineage.parent(fuse, "candidates")
    catalogue, histories = read_catalogue_as_train(ingest, EVERYTHING)
    for name in config.members.methods:
        kind, measured = MEMBERS[name], lineage.parent(candidates, name)
        parents = {role: lineage.parent(measured, role) for role in kind.parents}
        if kind.warm_starts:
            parents |= {base_role(name): measured, base_role("ingest"): ingest}
        work = out.work / name
        work.mkdir(exist_ok=True)
        kind.fit(FitInputs(histories, catalogue, kind.section(config.members), parents, work, out.directory(name)))
