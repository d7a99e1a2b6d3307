"""The promotion rule: from what was measured to whether the new model becomes the champion, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tsrec.columns import Columns as C
from tsrec.config import Config
from tsrec.evaluate.summary import has_interval, with_interval
from tsrec.refresh.comparison import BEST, CHALLENGER, CHAMPION
from tsrec.sids.health import describe_collapse
from tsrec.store import Artifact


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, in words; `metrics` are the challenger's, and how far it is ahead. `is_best`: no
    champion since the last rebuild measured better."""

    promotes: bool
    why: str
    metrics: dict[str, float]
    is_best: bool


def judge(comparison: Artifact, sids: Artifact, config: Config) -> Verdict:
    """Apply `refresh.promote` to a comparison, after the bounds that stand above it.

    Args:
        comparison: what `compare` made.
        sids: the challenger's, for the health of its codebooks.
        config: the rule, its bounds, and the level of confidence.
    """
    k, rule = max(config.evaluate.k), config.refresh
    against = {row[C.AGAINST]: row for row in _differences(comparison, k)}  # the champion; where there is one, the best
    row = against[CHAMPION]
    metrics = {**_own(comparison, k), f"ahead in ndcg@{k}": round(float(row[C.VALUE]), 6)}
    n_targets = int(row[C.N])

    def verdict(promotes: bool, why: str) -> Verdict:
        return Verdict(promotes, why, metrics, is_best=all(float(row[C.VALUE]) >= 0 for row in against.values()))

    if n_targets < rule.min_targets:
        return verdict(False, f"{n_targets} targets are fewer than refresh.min_targets={rule.min_targets}")
    health = sids.frame("codebook_health")
    if collapse := describe_collapse(health, sids.manifest.files["item_sids.parquet"].n_rows or 0, config.sids):
        return verdict(False, f"{collapse}: a rebuild is due (`tsrec run`)")
    covered, before = (_coverage(comparison, method, k) for method in (CHALLENGER, CHAMPION))
    if covered < rule.min_coverage * before:
        why = f"coverage@{k} fell from {before:.1%} to {covered:.1%}, below refresh.min_coverage={rule.min_coverage:g}"
        return verdict(False, f"{why} of it")
    measured = f"{_shown(row, k)} against the champion on {n_targets} targets"
    if rule.promote == "never":
        return verdict(False, f"{measured}; refresh.promote is never")
    if not has_interval(row[C.CI_LOW]):
        return verdict(False, f"{measured}: too few users to tell, so nothing is promoted")
    if rule.promote == "if-better":
        return verdict(bool(row[C.CI_LOW] > 0), f"{measured}; promoted only if better")
    best = against.get(BEST, row)
    if row[C.CI_HIGH] >= 0 and best[C.CI_HIGH] < 0:
        return verdict(False, f"{measured}, but {_shown(best, k)} against the best champion since the last rebuild")
    return verdict(bool(row[C.CI_HIGH] >= 0), f"{measured}; promoted unless worse")


def _differences(comparison: Artifact, k: int) -> list[dict[str, Any]]:
    """How far the challenger is ahead of each champion in NDCG@k."""
    rows = comparison.frame("differences")
    mine = rows[(rows[C.METHOD] == CHALLENGER) & (rows[C.METRIC] == "ndcg") & (rows[C.K] == k)]
    return mine.to_dict("records")


def _shown(row: Mapping[str, Any], k: int) -> str:
    return f"NDCG@{k} {with_interval(row[C.VALUE], row[C.CI_LOW], row[C.CI_HIGH])}"


def _coverage(comparison: Artifact, method: str, k: int) -> float:
    rows = comparison.frame("metrics")
    (value,) = rows.loc[(rows[C.METHOD] == method) & (rows[C.METRIC] == "coverage") & (rows[C.K] == k), C.VALUE]
    return float(value)


def _own(comparison: Artifact, k: int) -> dict[str, float]:
    rows = comparison.frame("metrics")
    mine = rows[(rows[C.METHOD] == CHALLENGER) & (rows[C.SLICE] == "all") & (rows[C.K] == k)]
    figures = {row.metric: round(float(row.value), 6) for row in mine.itertuples(index=False)}
    return {
        f"coverage@{k}": round(_coverage(comparison, CHALLENGER, k), 6),
        f"hr@{k}": figures["hr"],
        f"ndcg@{k}": figures["ndcg"],
        "n_targets": float(mine[C.N].max()),
    }
