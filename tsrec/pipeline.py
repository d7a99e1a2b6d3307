"""The chain of stages: which artifacts a configuration asks for, and building them in order.

This is the whole pipeline without Prefect: `run(load_config("configs/industrial.yaml"))` from a notebook does what
the flow does.
"""

import hashlib
import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tsrec import (
    backbone,
    data,
    embed,
    evaluate,
    finetune,
    forcing,
    keywords,
    permissions,
    recommenders,
    report,
    sa_init,
    sids,
)
from tsrec.config import Config, Section, canonical, with_overrides
from tsrec.devices import resolve_device
from tsrec.errors import ArtifactError, ConfigError, DataError
from tsrec.promotion import promote_first
from tsrec.quiet import quiet_libraries
from tsrec.recommenders.models import find_model
from tsrec.stage import Stage
from tsrec.store import (
    SHARED,
    Artifact,
    ArtifactKey,
    ArtifactStore,
    ArtifactWriter,
    Lineage,
    base_role,
    canonical_json,
    is_base,
    known_sha256,
    record_run,
)
from tsrec.store.hosts import tell_differences
from tsrec.threads import one_blas_thread

logger = logging.getLogger(__name__)

Bases = Mapping[str, Artifact]
Spread = Callable[["PlannedStage", Mapping[str, Artifact], Path], None]
Build = Callable[[Config, Mapping[str, "PlannedStage"], ArtifactStore], dict[str, Artifact]]
PROFILE = "profile"  # in place of a model's fingerprint: the newest of these very settings

STAGES: tuple[Stage, ...] = (
    data.STAGE,
    keywords.STAGE,
    embed.STAGE,
    sids.STAGE,
    backbone.STAGE,
    sa_init.STAGE,
    keywords.SEMANTICS,
    finetune.GROUNDING,
    *recommenders.MEMBER_STAGES,
    recommenders.SOFT_TARGETS,
    finetune.STAGE,
    finetune.RL,
    recommenders.DECODE,
    recommenders.CANDIDATES,
    recommenders.REFIT,
    recommenders.FUSE,
    evaluate.STAGE,
    report.STAGE,
)


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its configuration and the key of the artifact it will make.

    `name` is the stage's, with the variant after a colon (`decode:seed2`) for a further LLM; `parents` maps the role
    that the stage calls a parent by to the name of the planned stage that makes it; `bases` maps the roles of what it
    extends to artifacts that are there already. An artifact made before `anew_since` (ISO, UTC) counts as missing.
    """

    name: str
    stage: Stage
    config: Section
    key: ArtifactKey
    parents: dict[str, str]
    bases: dict[str, Artifact] = field(default_factory=dict)
    anew_since: str = ""

    def found_in(self, store: ArtifactStore) -> Artifact | None:
        """The finished, verified artifact, or None."""
        artifact = store.find(self.key)
        return artifact if artifact and artifact.manifest.created >= self.anew_since else None


def plan(config: Config, bases: Bases | None = None, goal: Stage = report.STAGE) -> dict[str, PlannedStage]:
    """Work out every artifact of a run, in order, without building any: fingerprints need only configurations and
    the hashes of raw files. Stages that the configuration does not need (a teacher, when token semantics are
    imported) are left out.

    A further LLM (`members.llms`) is the same chain of stages with other settings; a stage that comes out the same is
    shared.

    Args:
        config: the configuration.
        bases: artifacts of an earlier model by planned name, for a refresh: stages that can extend theirs do so. It is
            the same plan but for the fingerprints, which cover them.
        goal: the stage that is wanted: nothing that it does not need is planned, further LLMs included.

    Raises:
        DataError, ConfigError: a raw file is missing, or lies where runs must not read (see `permissions`).
    """
    permissions.check_roots(config)
    planned: dict[str, PlannedStage] = {}
    needed = _needed(config, goal)
    for stage in STAGES:
        if stage.name in needed:
            _add(planned, stage, config, bases or {})
        if stage is recommenders.DECODE and recommenders.FUSE.name in needed:
            for variant in config.members.llms:
                _add_variant(planned, with_overrides(config, variant.set), bases or {}, variant.name)
    return planned


def _add_variant(planned: dict[str, PlannedStage], config: Config, bases: Bases, variant: str) -> None:
    """Plan what a further LLM needs and `planned` lacks."""
    needed = _needed(config, recommenders.DECODE)
    for stage in STAGES:
        if stage.name in needed:
            _add(planned, stage, config, bases, variant)


def _add(planned: dict[str, PlannedStage], stage: Stage, config: Config, bases: Bases, variant: str = "") -> None:
    extended = _bases_of(stage, bases, variant)
    section = stage.section(config, extends=bool(extended))
    own = {role: f"{role}:{variant}" for role in stage.parents(config)}
    parents = {role: own[role] if own[role] in planned else role for role in own}
    marks = {role: planned[name].key.fingerprint for role, name in parents.items()}
    marks |= {role: base.fingerprint for role, base in extended.items()}
    # The backbone depends on no data: all data sets of a store share it.
    dataset = config.dataset if stage.name != backbone.STAGE.name else SHARED
    raw = _raw_identities(stage, section)
    key = ArtifactKey.covering(dataset, stage.name, stage.version, canonical(section), marks, raw)
    if variant and stage.name in planned and planned[stage.name].key == key:
        return
    name = f"{stage.name}:{variant}" if variant else stage.name
    planned[name] = PlannedStage(name, stage, section, key, parents, extended)


def _bases_of(stage: Stage, bases: Bases, variant: str) -> dict[str, Artifact]:
    """All that the stage wants to extend, by role; nothing where one of them is missing."""
    found = {name: bases.get(f"{name}:{variant}" if variant else name) or bases.get(name) for name in stage.bases}
    present = {base_role(name): artifact for name, artifact in found.items() if artifact is not None}
    return present if len(present) == len(found) else {}


def check(config: Config, bases: Bases | None = None, goal: Stage = report.STAGE) -> dict[str, PlannedStage]:
    """Plan a run, and check what can be known of this machine before anything is built.

    Raises:
        DataError, ConfigError: as `plan`; or this machine lacks a device.
    """
    planned = plan(config, bases, goal)
    for name, stage in planned.items():
        if device := getattr(stage.config, "device", None):
            try:
                resolve_device(device)
            except ConfigError as error:
                raise ConfigError(f"{name}.device: {error}") from None
    return planned


def record(config: Config, planned: Mapping[str, PlannedStage], store: ArtifactStore) -> None:
    """Write down which artifacts a run that starts now uses, so that garbage collection keeps them.

    A run without a profile counts as one of its own, named by its settings: data may change, they may not.
    """
    settings = hashlib.sha256(canonical_json(canonical(config)).encode()).hexdigest()[:8]
    record_run(store, config.profile or f"settings-{settings}", [stage.key for stage in planned.values()])


def build(
    planned: PlannedStage, store: ArtifactStore, artifacts: Mapping[str, Artifact], spread: Spread | None = None
) -> Artifact:
    """Return the stage's artifact, building it where the store has none.

    Args:
        planned: the stage.
        store: where it is looked for, and built.
        artifacts: by planned name; those that are its parents are handed to it.
        spread: has other processes call `make_shards` first, with what it is given.
    """
    wanted = {role: artifacts[name] for role, name in planned.parents.items()}

    def make(writer: ArtifactWriter) -> None:
        bases = {role: _found(store, base) for role, base in planned.bases.items()}
        with quiet_libraries(), one_blas_thread():
            if spread and planned.stage.shards:
                spread(planned, wanted | bases, writer.path)
            planned.stage.run(planned.config, wanted | bases, writer)
        _check_unchanged(planned)

    return store.build(planned.key, make, planned.anew_since)


def make_shards(planned: PlannedStage, parents: Mapping[str, Artifact], folder: Path, share: int, n_shares: int) -> int:
    """Make every `n_shares`-th shard of a stage, from `share` on, for the process that builds the artifact in `folder`
    and waits; how many there were to make.

    Raises:
        ConfigError: this process does not see the folder.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} cannot be seen from {platform.node()}: workers of one run need the same store in the same place"
        )
    assert planned.stage.shards is not None
    with quiet_libraries(), one_blas_thread():
        mine = planned.stage.shards(planned.config, parents, ArtifactWriter(folder))[share::n_shares]
        for shard in mine:
            shard.table()
    return len(mine)


def build_all(config: Config, stages: Mapping[str, PlannedStage], store: ArtifactStore) -> dict[str, Artifact]:
    """Record a run, build every planned artifact that does not exist yet, and return all of them by planned name."""
    artifacts: dict[str, Artifact] = {}
    record(config, stages, store)
    for name, planned in stages.items():
        logger.info("%s: %s", name, planned.key.path)
        artifacts[name] = build(planned, store, artifacts)
    return artifacts


def run(
    config: Config,
    store: ArtifactStore | None = None,
    force_from: str | None = None,
    build: Build = build_all,
) -> dict[str, Artifact]:
    """Build every artifact of a run that does not exist yet, and return all of them by planned name.

    Its model becomes the champion where the data set has none.

    Args:
        config: the configuration.
        store: default: the configuration's.
        force_from: a stage that is run again, with what follows, though its artifacts exist.
        build: builds what is planned; the flow has a task a stage.
    """
    stages = check(config)  # before the store is opened: it may lie where it must not
    store = store or ArtifactStore(config.store)
    if force_from:
        stages = forcing.force(stages, force_from, store)
    artifacts = build(config, stages, store)
    tell_differences(artifacts.values())
    if force_from:
        forcing.finish(stages, force_from, store)
    promote_first(store, config.dataset, artifacts)
    return artifacts


def _check_unchanged(planned: PlannedStage) -> None:
    """Raise DataError where what was read from outside the store is not what the fingerprint says: files grow."""
    for name, read in planned.stage.raw_inputs(planned.config).items():
        if isinstance(read, Path) and read.is_file() and known_sha256(read) != planned.key.raw_inputs.get(name):
            raise DataError(f"{read}: has changed, or come, since this run began; run again to read it as it is now")


def _found(store: ArtifactStore, artifact: Artifact) -> Artifact:
    """A base with its files checked, and fetched where the store is remote."""
    found = store.find(artifact.manifest.key)
    if found is None:
        raise ArtifactError(f"{artifact.path}: what a refresh extends is gone or damaged; `tsrec run` starts anew")
    return found


def _raw_identities(stage: Stage, section: Section) -> dict[str, str]:
    """What identifies each input from outside the store: a file's hash, or the name of a published content."""
    raw: dict[str, str] = {}
    for name, read in sorted(stage.raw_inputs(section).items()):
        if isinstance(read, Path):
            if stage is not data.STAGE:  # it checks its own: only it knows which of them are copies of URLs
                permissions.check_readable(f"{stage.name}, {name}", read)
            raw[name] = known_sha256(read)
        else:
            raw[name] = read
    return raw


def finished(config: Config, store: ArtifactStore | None = None) -> tuple[Lineage, Artifact]:
    """The newest finished fusion of a configuration, found by settings alone: no raw file is read.

    Raises:
        ArtifactError: the store has none.
    """
    lineage = Lineage(store or ArtifactStore(config.store))
    either = (config, config.of_a_refresh())
    for artifact in reversed(lineage.listed):
        key = artifact.manifest.key
        if (key.dataset, key.stage) != (config.dataset, recommenders.FUSE.name):
            continue
        if any(_is_of(settings, artifact, lineage) for settings in either):
            return lineage, lineage.verified(artifact)
    raise ArtifactError(
        f"{config.dataset}: no finished recommender in {config.store} for this configuration; "
        "give the same profile and --set to `tsrec run` first"
    )


def model_of(config: Config, model: str | None = None) -> tuple[Lineage, Artifact]:
    """The model that recommends: the data set's champion, `profile` for that of `finished`, or one by fingerprint.

    Raises:
        ArtifactError: the store has none.
    """
    if model == PROFILE:
        return finished(config)
    lineage = Lineage(ArtifactStore(config.store))
    return lineage, find_model(lineage, config.dataset, model)


def _is_of(config: Config, artifact: Artifact, lineage: Lineage) -> bool:
    """Whether an artifact, and all that it was made from, have the settings of `config`; other LLMs aside."""
    key = artifact.manifest.key
    stage = next(stage for stage in STAGES if stage.name == key.stage)
    own = [role for role in key.parents if not is_base(role)]
    section = stage.section(config, extends=len(own) < len(key.parents))
    if key.stage_version != stage.version or key.config != canonical(section):
        return False
    roles = stage.parents(config)
    if set(roles) != set(own):
        return False
    parents = (lineage.listed_parent(artifact, role) for role in roles if ":" not in role)
    return all(parent is not None and _is_of(config, parent, lineage) for parent in parents)


def _needed(config: Config, last: Stage) -> set[str]:
    """Names of the stages that `last` is made from, itself included; of further LLMs, none."""
    by_name = {stage.name: stage for stage in STAGES}
    needed, queue = set(), [last.name]
    while queue:
        name = queue.pop()
        if name not in needed and name in by_name:
            needed.add(name)
            queue.extend(by_name[name].parents(config))
    return needed
