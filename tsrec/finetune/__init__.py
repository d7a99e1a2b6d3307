"""The finetune stage: teach the LLM histories of SIDs, and (TS-Align) what each single SID token stands for."""

from tsrec.config import Config, ContinuedFinetune, FinetuneConfig, RlSettings
from tsrec.stage import Stage, on_call


def _parents(config: Config) -> tuple[str, ...]:
    semantics = ("semantics",) if config.has_semantics(config.finetune.tasks) else ()
    grounding = ("grounding",) if config.is_grounded() else ()
    soft_targets = ("soft_targets",) if config.finetune.distill.share else ()
    neighbours: tuple[str, ...] = ()
    if config.finetune.augment.replace:
        from tsrec.finetune.neighbours import source_of

        neighbours = (source_of(config.finetune.augment),)
    return ("ingest", "sids", "sa_init", *grounding, *semantics, *soft_targets, *neighbours, "backbone")


STAGE = Stage(
    name="finetune",
    version=3,
    config=lambda config: config.finetune,
    parents=_parents,
    run=on_call("tsrec.finetune.stage", "run"),
    bases=("finetune", "ingest", "sa_init"),
    extending=lambda config: ContinuedFinetune(whole=config.finetune, go_on=config.refresh.training),
)

RL = Stage(
    name="rl",
    version=1,
    config=lambda config: RlSettings(own=config.rl, finetune=config.finetune),
    parents=lambda _: ("ingest", "sids", "finetune"),
    run=on_call("tsrec.finetune.rl", "run"),
)


def _recipe(config: Config) -> FinetuneConfig:
    return config.grounding.recipe(config.finetune)


def _grounding_parents(config: Config) -> tuple[str, ...]:
    semantics = ("semantics",) if config.has_semantics(config.grounding.tasks) else ()
    return ("ingest", "sids", "sa_init", *semantics, "backbone")


GROUNDING = Stage(
    name="grounding",
    version=1,
    config=_recipe,
    parents=_grounding_parents,
    run=on_call("tsrec.finetune.grounding", "run"),
    bases=("grounding",),
)
