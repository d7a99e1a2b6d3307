"""The finetune stage: teach the LLM histories of SIDs, and (TS-Align) what each SID token stands for."""

from tsrec.config import Config, ContinuedFinetune, FinetuneSettings, RlSettings
from tsrec.stage import Stage, on_call


def _parents(config: Config) -> tuple[str, ...]:
    semantics = ("semantics",) if config.needs_semantics() else ()
    soft_targets = ("soft_targets",) if config.finetune.distill.share else ()
    return ("ingest", "sids", "sa_init", *semantics, *soft_targets, "backbone")


def _settings(config: Config) -> FinetuneSettings:
    return FinetuneSettings(**dict(config.finetune), device=config.device, precision=config.precision)


STAGE = Stage(
    name="finetune",
    version=4,
    config=_settings,
    parents=_parents,
    run=on_call("tsrec.finetune.stage", "run"),
    bases=("finetune", "ingest", "sa_init"),
    extending=lambda config: ContinuedFinetune(whole=_settings(config), go_on=config.refresh.training),
)

RL = Stage(
    name="rl",
    version=2,
    config=lambda config: RlSettings(own=config.rl, finetune=_settings(config)),
    parents=lambda _: ("ingest", "sids", "finetune"),
    run=on_call("tsrec.finetune.rl", "run"),
)
