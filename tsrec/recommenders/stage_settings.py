"""What the stages of this room read: sections, joined where a result depends on several."""

from typing import Annotated

from pydantic import Field

from tsrec.config import Config, DecodeConfig, FuseConfig, MembersConfig, RecommendConfig, Repeats, Section
from tsrec.config.section import AddedLater, OnDevice


class BeamSettings(DecodeConfig, OnDevice):
    """What the LLM as a member reads: its own section, and what the run computes on."""

    @classmethod
    def from_config(cls, config: Config) -> "BeamSettings":
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
    """What the stage reads: every member's settings and their `versions`, and the rules that shape lists.

    The first three are constants of the stage, and stand in its fingerprint.
    """

    folds: int = 2  # parts of the users, each ranked by members fitted on all others: one more fits every member again
    items: int = 50  # that a target is drawn from, the likeliest ones: as many as a member proposes
    max_targets: int = 200_000  # at most, drawn at random, for ranking them takes time; others stay as they are
    members: MembersConfig
    repeats: Repeats
    versions: Annotated[dict[str, int], AddedLater({})] = Field(default_factory=dict)
