"""Decides whether a refreshed model becomes the champion, and why: what was measured, the rule, a person's rollback."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tsrec.columns import ALL
from tsrec.columns import Columns as C
from tsrec.config import Config
from tsrec.evaluate.summary import has_interval, with_interval
from tsrec.refresh.comparison import BEST, CHALLENGER, CHAMPION
from tsrec.sids.health import describe_collapse
from tsrec.store import Artifact
from tsrec.store.champions import Move


@dataclass(frozen=True)
class PromotionDecision:
    """Whether to promote the challenger.

    `why` says it in words. `metrics` are the challenger's, and how far it is ahead of the champion. `is_best`: no
    champion since the last rebuild measured better.
    """

    promotes: bool
    why: str
    metrics: dict[str, float]
    is_best: bool


def decide_promotion(
    comparison: Artifact, sids: Artifact, config: Config, challenger: str, moves: Sequence[Move]
) -> PromotionDecision:
    """Decide whether the challenger becomes the champion.

    The bounds of `refresh` come first, then the rule `refresh.promote`. A model that a person rolled back is not
    promoted, whatever was measured.

    Args:
        comparison: what `compare` made.
        sids: the challenger's, for the health of its codebooks.
        config: the rule and its bounds.
        challenger: fingerprint of the challenger.
        moves: all moves of the data set's champion, oldest first.
    """
    decision = _decide_by_measurements(comparison, sids, config)
    rollback = _rollback_from(challenger, moves)
    if not decision.promotes or rollback is None:
        return decision
    why = f"was rolled back on {rollback.when[:10]} ({rollback.why}); `tsrec models promote` if it is to serve again"
    return replace(decision, promotes=False, why=why)


def _decide_by_measurements(comparison: Artifact, sids: Artifact, config: Config) -> PromotionDecision:
    """Apply the bounds of `refresh`, then the rule `refresh.promote`."""
    k, rule = max(config.evaluate.k), config.refresh
    differences = comparison.frame("differences")
    is_ours = (differences[C.METHOD] == CHALLENGER) & (differences[C.METRIC] == "ndcg") & (differences[C.K] == k)
    # How far the challenger is ahead of the champion and, where there is one, of the best champion.
    against = {row[C.AGAINST]: row for row in differences[is_ours].to_dict("records")}
    row = against[CHAMPION]
    figures = comparison.frame("metrics").set_index([C.METHOD, C.SLICE, C.METRIC, C.K])[[C.VALUE, C.N]]
    values = {name: float(figures.loc[(CHALLENGER, ALL, name, k), C.VALUE]) for name in ("coverage", "hr", "ndcg")}
    metrics = {
        **{f"{name}@{k}": round(value, 6) for name, value in values.items()},
        "n_targets": float(figures.loc[(CHALLENGER, ALL, "ndcg", k), C.N]),
        f"ahead in ndcg@{k}": round(float(row[C.VALUE]), 6),
    }
    n_targets = int(row[C.N])

    def decision(promotes: bool, why: str) -> PromotionDecision:
        return PromotionDecision(
            promotes, why, metrics, is_best=all(float(row[C.VALUE]) >= 0 for row in against.values())
        )

    if n_targets < rule.min_targets:
        return decision(False, f"{n_targets} targets are fewer than refresh.min_targets={rule.min_targets}")
    health = sids.frame("codebook_health")
    if collapse := describe_collapse(health, sids.manifest.files["item_sids.parquet"].n_rows or 0, config.sids):
        return decision(False, f"{collapse}: a rebuild is due (`tsrec run`)")
    coverage, champion_coverage = values["coverage"], float(figures.loc[(CHAMPION, ALL, "coverage", k), C.VALUE])
    if coverage < rule.min_coverage * champion_coverage:
        why = f"coverage@{k} fell from {champion_coverage:.1%} to {coverage:.1%}, below "
        return decision(False, f"{why}refresh.min_coverage={rule.min_coverage:g} of it")
    measured = f"{_shown(row, k)} against the champion on {n_targets} targets"
    if rule.promote == "never":
        return decision(False, f"{measured}; refresh.promote is never")
    if not has_interval(row[C.CI_LOW]):
        return decision(False, f"{measured}: too few users to tell, so nothing is promoted")
    if rule.promote == "if-better":
        return decision(bool(row[C.CI_LOW] > 0), f"{measured}; promoted only if better")
    best = against.get(BEST, row)
    if row[C.CI_HIGH] >= 0 and best[C.CI_HIGH] < 0:
        return decision(False, f"{measured}, but {_shown(best, k)} against the best champion since the last rebuild")
    return decision(bool(row[C.CI_HIGH] >= 0), f"{measured}; promoted unless worse")


def _rollback_from(model: str, moves: Sequence[Move]) -> Move | None:
    """The last rollback away from a model since it was last promoted; None where there is none."""
    rollback = None
    for move in moves:
        if move.kind == "rollback" and move.previous == model:
            rollback = move
        elif move.kind == "promote" and move.to == model:
            rollback = None
    return rollback


def _shown(row: Mapping[str, Any], k: int) -> str:
    return f"NDCG@{k} {with_interval(row[C.VALUE], row[C.CI_LOW], row[C.CI_HIGH])}"
