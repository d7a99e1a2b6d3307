"""Planning: which artifacts a configuration asks for, in order. Builds none.

Fingerprints need only configurations and the hashes of raw files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tsrec import backbone, data, embed, evaluate, finetune, keywords, permissions, recommenders, report, sa_init, sids
from tsrec.config import Config, Section, canonical, with_overrides
from tsrec.machine.devices import check_device, check_processes
from tsrec.stage import Stage
from tsrec.store import SHARED, Artifact, ArtifactKey, ArtifactStore, base_role, cached_sha256

Bases = Mapping[str, Artifact]

STAGES: tuple[Stage, ...] = (
    data.STAGE,
    keywords.STAGE,
    embed.STAGE,
    sids.STAGE,
    backbone.STAGE,
    sa_init.STAGE,
    keywords.SEMANTICS,
    *recommenders.MEMBER_STAGES,
    recommenders.SOFT_TARGETS,
    finetune.STAGE,
    finetune.RL,
    recommenders.DECODE,
    recommenders.CANDIDATES,
    recommenders.REFIT,
    recommenders.SCORE,
    recommenders.FUSE,
    evaluate.STAGE,
    report.STAGE,
)


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its configuration and the key of the artifact it will make.

    `name` is the stage's, with the variant after a colon (`decode:seed2`) for a further LLM; `parents` maps the role
    that the stage calls a parent by to the name of the planned stage that makes it; `bases` maps the roles of what it
    extends to artifacts that are there already. An artifact made before `rebuild_before` (ISO, UTC) counts as missing.
    """

    name: str
    stage: Stage
    config: Section
    key: ArtifactKey
    parents: dict[str, str]
    bases: dict[str, Artifact] = field(default_factory=dict)
    rebuild_before: str = ""

    def found_in(self, store: ArtifactStore) -> Artifact | None:
        """The finished, verified artifact, or None."""
        artifact = store.find(self.key)
        return artifact if artifact and artifact.manifest.created >= self.rebuild_before else None


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


def check(config: Config, bases: Bases | None = None, goal: Stage = report.STAGE) -> dict[str, PlannedStage]:
    """Plan a run, and check what can be known of this machine before anything is built.

    Raises:
        DataError, ConfigError: as `plan`; or this machine lacks a device, or one for each process.
    """
    planned = plan(config, bases, goal)
    for stage in planned.values():
        if device := getattr(stage.config, "device", None):
            check_device(device)
            check_processes(getattr(stage.config, "processes", 1), device)
    return planned


def _add_variant(planned: dict[str, PlannedStage], config: Config, bases: Bases, variant: str) -> None:
    """Plan what a further LLM needs and `planned` lacks."""
    needed = _needed(config, recommenders.DECODE)
    for stage in STAGES:
        if stage.name in needed:
            _add(planned, stage, config, bases, variant)


def _add(planned: dict[str, PlannedStage], stage: Stage, config: Config, bases: Bases, variant: str = "") -> None:
    bases_by_role = _bases_of(stage, bases, variant)
    section = stage.section(config, extends=bool(bases_by_role))
    variant_names = {role: f"{role}:{variant}" for role in stage.parents(config)}
    parents = {role: name if name in planned else role for role, name in variant_names.items()}
    fingerprints = {role: planned[name].key.fingerprint for role, name in parents.items()}
    fingerprints |= {role: base.fingerprint for role, base in bases_by_role.items()}
    # The backbone depends on no data: all data sets of a store share it.
    dataset = config.dataset if stage.name != backbone.STAGE.name else SHARED
    raw_inputs = _raw_identities(stage, section)
    key = ArtifactKey.from_inputs(dataset, stage.name, stage.version, canonical(section), fingerprints, raw_inputs)
    if variant and stage.name in planned and planned[stage.name].key == key:
        return
    name = f"{stage.name}:{variant}" if variant else stage.name
    planned[name] = PlannedStage(name, stage, section, key, parents, bases_by_role)


def _bases_of(stage: Stage, bases: Bases, variant: str) -> dict[str, Artifact]:
    """All that the stage wants to extend, by role; nothing where one of them is missing."""
    found = {name: bases.get(f"{name}:{variant}" if variant else name) or bases.get(name) for name in stage.bases}
    present = {base_role(name): artifact for name, artifact in found.items() if artifact is not None}
    return present if len(present) == len(found) else {}


def _raw_identities(stage: Stage, section: Section) -> dict[str, str]:
    """What identifies each input from outside the store: a file's hash, or the name of a published content."""
    raw: dict[str, str] = {}
    for name, raw_input in sorted(stage.raw_inputs(section).items()):
        if isinstance(raw_input, Path):
            if stage is not data.STAGE:  # it checks its own: only it knows which of them are copies of URLs
                permissions.check_readable(f"{stage.name}, {name}", raw_input)
            raw[name] = cached_sha256(raw_input)
        else:
            raw[name] = raw_input
    return raw


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
