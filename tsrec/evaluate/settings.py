"""Settings of the evaluate stage."""

from tsrec.config import EvaluateConfig, RecommendConfig, Section


class EvaluateSettings(Section):
    """Settings of the evaluate stage: its own section, and the rules for all members."""

    own: EvaluateConfig
    rules: RecommendConfig
