"""The evaluate stage: metrics, intervals over users, slices, paired differences. Lists are made elsewhere."""

from tsrec.config import Config
from tsrec.evaluate.settings import EvaluateSettings
from tsrec.stage import Stage, on_call


def _parents(config: Config) -> tuple[str, ...]:
    return ("ingest", "candidates", "decode", *(f"decode:{variant.name}" for variant in config.members.llms), "fuse")


STAGE = Stage(
    name="evaluate",
    version=4,
    config=lambda config: EvaluateSettings(own=config.evaluate, rules=config.recommend),
    parents=_parents,
    run=on_call("tsrec.evaluate.stage", "run"),
)
