"""The bases of a refresh: the artifacts that the champion was made from, and whether these can be extended."""

from collections.abc import Mapping

from tsrec.config import Config, canonical, neutral_value
from tsrec.errors import ConfigError
from tsrec.pipeline import PlannedStage
from tsrec.store import Artifact, Lineage, base_role, is_base

_NEEDS_NEW_RUN = "a refresh cannot bridge that; give `tsrec run`, which starts anew, and `tsrec models promote`"
INGEST = "ingest"  # which extends nothing: of its base it knows what must not be held out
# Where something was computed, and the seed of random SID rows: a refresh keeps the champion's rows.
_IGNORED_FIELDS = ("device", "finetune_seed")


def bases_of(lineage: Lineage, fuse: Artifact) -> dict[str, Artifact]:
    """Every artifact that a model was made from, by planned name; neither checked nor fetched."""
    found: dict[str, Artifact] = {}
    queue = [(fuse, role, role.partition(":")[2]) for role in fuse.manifest.key.parents]
    while queue:
        child, role, variant = queue.pop(0)
        stage = role.partition(":")[0]
        parent = lineage.listed_parent(child, role)
        name = f"{stage}:{variant}" if variant else stage
        if parent is None or is_base(role) or name in found:
            continue
        found[name] = parent
        queue += [(parent, parent_role, variant) for parent_role in parent.manifest.key.parents]
    return found


def extends(planned: Mapping[str, PlannedStage]) -> bool:
    """Whether any stage goes on from what an earlier model has; a rebuild shares with it only what is held out."""
    return any(stage.bases for name, stage in planned.items() if name != INGEST)


def check_bases(config: Config, planned: Mapping[str, PlannedStage]) -> None:
    """Raise ConfigError where a stage would extend what was made by other settings or by other code.

    How fine-tuning goes on may change from refresh to refresh; what it goes on from may not.
    """
    for name, stage in planned.items():
        base = stage.bases.get(base_role(stage.stage.name))
        if base is None or name == INGEST:
            continue
        base_key = base.manifest.key
        if base_key.stage_version != stage.key.stage_version:
            raise ConfigError(f"{name}: the champion was made by another version of this stage, and {_NEEDS_NEW_RUN}")
        if stage.stage.extending:
            backbone = stage.key.parents.get("backbone")
            if backbone != base_key.parents.get("backbone"):
                raise ConfigError(f"{name}: the champion was trained from another backbone, and {_NEEDS_NEW_RUN}")
            continue
        settings = canonical(stage.config)
        differing = [
            field
            for field in sorted(settings.keys() | base_key.config.keys())
            if field not in _IGNORED_FIELDS and settings.get(field) != base_key.config.get(field)
        ]
        if differing:
            field, unset = differing[0], neutral_value(stage.config, differing[0])
            raise ConfigError(
                f"{stage.stage.name}.{field} is {settings.get(field, unset)!r}, and the champion was made with "
                f"{base_key.config.get(field, unset)!r}; {_NEEDS_NEW_RUN}"
            )
    if not extends(planned):
        raise ConfigError(
            f"{config.dataset}: nothing that the champion was made from is left to extend; {_NEEDS_NEW_RUN}"
        )
