"""Finding finished models: by settings alone, or the one that recommends. Reads no raw file, builds nothing."""

from tsrec import recommenders
from tsrec.config import Config, canonical
from tsrec.errors import ArtifactError
from tsrec.pipeline.planning import STAGES
from tsrec.recommenders.model_lookup import find_model
from tsrec.store import Artifact, ArtifactStore, Lineage, is_base

PROFILE = "profile"  # in place of a model's fingerprint: the newest of these very settings


def find_finished(config: Config, store: ArtifactStore | None = None) -> tuple[Lineage, Artifact]:
    """The newest finished fusion of a configuration, found by settings alone: no raw file is read.

    Raises:
        ArtifactError: the store has none.
    """
    lineage = Lineage(store or ArtifactStore(config.store))
    configs = (config, config.of_a_refresh())
    for artifact in reversed(lineage.listed):
        key = artifact.manifest.key
        if (key.dataset, key.stage) != (config.dataset, recommenders.FUSE.name):
            continue
        if any(_has_settings(settings, artifact, lineage) for settings in configs):
            return lineage, lineage.verified(artifact)
    raise ArtifactError(
        f"{config.dataset}: no finished recommender in {config.store} for this configuration; "
        "give the same profile and --set to `tsrec run` first"
    )


def resolve_model(config: Config, model: str | None = None) -> tuple[Lineage, Artifact]:
    """The model that recommends: the data set's champion, `profile` for that of `find_finished`, or one by fingerprint.

    Raises:
        ArtifactError: the store has none.
    """
    if model == PROFILE:
        return find_finished(config)
    lineage = Lineage(ArtifactStore(config.store))
    return lineage, find_model(lineage, config.dataset, model)


def _has_settings(config: Config, artifact: Artifact, lineage: Lineage) -> bool:
    """Whether an artifact, and all that it was made from, have the settings of `config`; other LLMs aside."""
    key = artifact.manifest.key
    stage = next(stage for stage in STAGES if stage.name == key.stage)
    parent_roles = [role for role in key.parents if not is_base(role)]
    section = stage.section(config, extends=len(parent_roles) < len(key.parents))
    if key.stage_version != stage.version or key.config != canonical(section):
        return False
    roles = stage.parents(config)
    if set(roles) != set(parent_roles):
        return False
    parents = (lineage.listed_parent(artifact, role) for role in roles if ":" not in role)
    return all(parent is not None and _has_settings(config, parent, lineage) for parent in parents)
