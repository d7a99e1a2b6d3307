"""What the stages of this room read: sections, joined where a result depends on several."""

from typing import Annotated

from pydantic import Field

from tsrec.config import Config, DecodeConfig, FuseConfig, MembersConfig, RecommendConfig, Repeats, Section
from tsrec.config.section import AddedLater, OnDevice


class BeamSettings(DecodeConfig, OnDevice):
    """What the LLM as a member reads: its own section, and what the run computes on."""

    @classmethod
    def of(cls, config: Config) -> "BeamSettings":
        """Those of a run."""
        return cls(**dict(config.decode), device=config.device, precision=config.precision)


class DecodeSettings(Section):
    """What the decode stage reads: the LLM's settings, and the rules for all members."""

    own: BeamSettings
    rules: RecommendConfig


class FuseSettings(Section):
    """What the stage reads: its own section, and the rules for all members."""

    own: FuseConfig
    rules: RecommendConfig


class RefitSettings(Section):
    """What the stage reads: every member's settings, and the rules for all; `versions` are the members'."""

    members: MembersConfig
    rules: RecommendConfig
    versions: Annotated[dict[str, int], AddedLater({})] = Field(default_factory=dict)


class SoftTargetSettings(Section):
    """What the stage reads: its own settings, every member's and their `versions`, and the rules that shape lists."""

    folds: int
    items: int
    max_targets: int
    members: MembersConfig
    repeats: Repeats
    versions: Annotated[dict[str, int], AddedLater({})] = Field(default_factory=dict)
