"""What the evaluate stage reads."""

from tsrec.config import EvaluateConfig, RecommendConfig, Section


class EvaluateSettings(Section):
    """What the stage reads: its own section, and the rules for all members."""

    own: EvaluateConfig
    rules: RecommendConfig
