"""Which artifact holds the trained LLM: that of the last stage that trained it. Everyone who loads it asks here."""

from collections.abc import Collection

from tsrec.config import Config

TRAINING_STAGES = ("finetune", "rl")  # in order; each goes on from the one before


def trained_by(config: Config) -> str:
    """The stage that trains the LLM last."""
    return "rl" if config.has_rl() else "finetune"


def trained_in(names: Collection[str]) -> str:
    """Of the names of artifacts, or of the roles of an artifact's parents, the one that holds the trained LLM."""
    return [stage for stage in TRAINING_STAGES if stage in names][-1]
