"""The promotion rule: from what was measured to whether the new model becomes the champion, and why."""

from dataclasses import dataclass

from tsrec.columns import Columns as C
from tsrec.config import Config
from tsrec.refresh.comparison import CHALLENGER, CHAMPION
from tsrec.sids.health import describe_collapse
from tsrec.store import Artifact


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, in words; `metrics` are the challenger's, and how far it is ahead."""

    promotes: bool
    why: str
    metrics: dict[str, float]


def judge(comparison: Artifact, sids: Artifact, config: Config) -> Verdict:
    """Apply `refresh.promote` to a comparison, after the bounds that stand above it.

    Args:
        comparison: what `compare` made.
        sids: the challenger's, for the health of its codebooks.
        config: the rule, its bounds, and the level of confidence.
    """
    k, rule = max(config.evaluate.k), config.refresh
    rows = comparison.frame("differences")
    (row,) = rows[
        (rows[C.METHOD] == CHALLENGER) & (rows[C.AGAINST] == CHAMPION) & (rows[C.METRIC] == "ndcg") & (rows[C.K] == k)
    ].to_dict("records")
    metrics = {**_own(comparison, k), f"ahead in ndcg@{k}": round(float(row[C.VALUE]), 6)}
    measured = (
        f"NDCG@{k} {row[C.VALUE]:+.4f} [{row[C.CI_LOW]:+.4f}, {row[C.CI_HIGH]:+.4f}] against the champion on "
        f"{row[C.N]} targets"
    )
    n_targets = int(row[C.N])
    if n_targets < rule.min_targets:
        return Verdict(False, f"{n_targets} targets are fewer than refresh.min_targets={rule.min_targets}", metrics)
    health = sids.frame("codebook_health")
    if collapse := describe_collapse(health, sids.manifest.files["item_sids.parquet"].n_rows or 0, config.sids):
        return Verdict(False, f"{collapse}: a rebuild is due (`tsrec run`)", metrics)
    covered, before = (_coverage(comparison, method, k) for method in (CHALLENGER, CHAMPION))
    if covered < rule.min_coverage * before:
        why = f"coverage@{k} fell from {before:.1%} to {covered:.1%}, below refresh.min_coverage={rule.min_coverage:g}"
        return Verdict(False, f"{why} of it", metrics)
    if rule.promote == "never":
        return Verdict(False, f"{measured}; refresh.promote is never", metrics)
    if rule.promote == "if-better":
        return Verdict(bool(row[C.CI_LOW] > 0), f"{measured}; promoted only if better", metrics)
    return Verdict(bool(row[C.CI_HIGH] >= 0), f"{measured}; promoted unless worse", metrics)


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
