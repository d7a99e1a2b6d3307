"""Settings of the stages of this package: sections of the configuration, joined where a stage reads several."""

from typing import Annotated

from pydantic import Field

from tsrec.config import Config, DecodeConfig, FuseConfig, MembersConfig, RecommendConfig, Repeats, Section
from tsrec.config.base import AddedLater, OnDevice


class BeamSettings(DecodeConfig, OnDevice):
    """Settings of the LLM as a member: the section `decode`, and the run's device and precision."""

    @classmethod
    def from_run_config(cls, config: Config) -> "BeamSettings":
        """The settings of a run."""
        return cls(**dict(config.decode), device=config.device, precision=config.precision)


class DecodeSettings(Section):
    """Settings of the decode stage: the LLM's own, and the rules for all members."""

    own: BeamSettings
    rules: RecommendConfig


class ScoreSettings(Section):
    """Settings of the score stage: the LLM's own, the rules for all members, and `fuse.llm_scores`."""

    own: BeamSettings
    rules: RecommendConfig
    n_proposals: int


class FuseSettings(Section):
    """Settings of the fuse stage: its own section, and the rules for all members."""

    own: FuseConfig
    rules: RecommendConfig


class MemberSettings(Section):
    """What fitted members depend on: the settings of every member, and the `versions` of their code."""

    members: MembersConfig
    versions: Annotated[dict[str, int], AddedLater({})] = Field(default_factory=dict)


class RefitSettings(MemberSettings):
    """Settings of the refit stage: those of the members, and the rules for all."""

    rules: RecommendConfig


class SoftTargetSettings(MemberSettings):
    """Settings of the soft_targets stage: those of the members, a rule for lists, and constants of the stage, which
    stand in its fingerprint."""

    folds: int = 2  # parts of the users, each ranked by members fitted on all others: one more fits every member again
    items: int = 50  # that a target is drawn from, the likeliest ones: as many as a member proposes
    max_targets: int = 200_000  # at most, drawn at random, for ranking them takes time; others stay as they are
    repeats: Repeats
