"""Everything that recommends: `tsrec.Recommender.open(store, dataset).recommend(histories, k)`.

This module describes the stages of the package; `Recommender` is in `recommender.py`.
"""

from tsrec.config import Config
from tsrec.llm.trained_llm import trained_by
from tsrec.recommenders.member_registry import MEMBER_STAGES, member_parents, member_settings
from tsrec.recommenders.stage_settings import (
    BeamSettings,
    DecodeSettings,
    FuseSettings,
    RefitSettings,
    ScoreSettings,
    SoftTargetSettings,
)
from tsrec.stage import Stage, on_call

__all__ = ["CANDIDATES", "DECODE", "FUSE", "MEMBER_STAGES", "REFIT", "SCORE", "SOFT_TARGETS"]

CANDIDATES = Stage(
    name="candidates",
    version=1,
    config=lambda config: config.recommend,
    parents=lambda config: ("ingest", *config.members.methods),
    run=on_call("tsrec.recommenders.candidate_stages", "run_candidates"),
    shared_from=100_000,  # lists: one core makes about 5,000 a second
)

DECODE = Stage(
    name="decode",
    version=2,
    config=lambda config: DecodeSettings(own=BeamSettings.from_run_config(config), rules=config.recommend),
    parents=lambda config: ("ingest", "sids", trained_by(config)),
    run=on_call("tsrec.recommenders.candidate_stages", "run_decode"),
    shared_from=500,  # lists: one core makes about 25 a second
)


def _soft_target_settings(config: Config) -> SoftTargetSettings:
    return SoftTargetSettings(repeats=config.recommend.repeats, **member_settings(config))


SOFT_TARGETS = Stage(
    name="soft_targets",
    version=3,
    config=_soft_target_settings,
    parents=member_parents,
    run=on_call("tsrec.recommenders.soft_targets", "run"),
)


def _refit_settings(config: Config) -> RefitSettings:
    return RefitSettings(rules=config.recommend, **member_settings(config))


REFIT = Stage(
    name="refit",
    version=2,
    config=_refit_settings,
    parents=member_parents,
    run=on_call("tsrec.recommenders.refit", "run"),
)


def _score_parents(config: Config) -> tuple[str, ...]:
    refitted = ("refit",) if config.members.refit else ()
    return ("ingest", "sids", "candidates", "decode", trained_by(config), *refitted)


SCORE = Stage(
    name="score",
    version=1,
    config=lambda config: ScoreSettings(
        own=BeamSettings.from_run_config(config), rules=config.recommend, n_proposals=config.fuse.llm_scores
    ),
    parents=_score_parents,
    run=on_call("tsrec.recommenders.score_stage", "run"),
    shared_from=0,
)


def _fuse_parents(config: Config) -> tuple[str, ...]:
    variants = (f"decode:{variant.name}" for variant in config.members.llms)
    more = [name for name, wanted in (("score", config.fuse.llm_scores), ("refit", config.members.refit)) if wanted]
    return ("ingest", "candidates", "decode", *variants, *more)


FUSE = Stage(
    name="fuse",
    version=8,
    config=lambda config: FuseSettings(own=config.fuse, rules=config.recommend),
    parents=_fuse_parents,
    run=on_call("tsrec.recommenders.fuse_stage", "run"),
    shared_from=10_000,  # targets: one core fuses about 400 a second
)
