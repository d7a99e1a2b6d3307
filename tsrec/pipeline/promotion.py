"""Moving the champion: by hand, and where a data set has none yet. What a model is judged by is read here."""

import logging
from collections.abc import Mapping
from typing import Any

from tsrec.columns import ALL, FUSED
from tsrec.columns import Columns as C
from tsrec.recommenders.model_lookup import find_model, find_models
from tsrec.store import Artifact, ArtifactStore, Lineage
from tsrec.store.champions import Move, champion_of, promote

logger = logging.getLogger(__name__)


def fused_metrics(evaluate: Artifact) -> dict[str, float]:
    """HR and NDCG of the fusion over all targets at the largest cut-off, and `n_targets`."""
    metrics = evaluate.frame("metrics")
    fused = metrics[(metrics[C.METHOD] == FUSED) & (metrics[C.SLICE] == ALL) & metrics[C.METRIC].isin(("hr", "ndcg"))]
    rows = fused[fused[C.K] == fused[C.K].max()].itertuples(index=False)
    figures = {f"{row.metric}@{row.k}": round(float(row.value), 6) for row in rows}
    return {**figures, "n_targets": float(fused[C.N].max())}


def metrics_of(lineage: Lineage, fuse: Artifact) -> dict[str, float]:
    """`fused_metrics` of a model's newest evaluation; empty where it was never evaluated."""
    newest = evaluation_of(lineage, fuse)
    return fused_metrics(newest) if newest else {}


def beside_champion(
    store: ArtifactStore, dataset: str, artifacts: Mapping[str, Artifact]
) -> tuple[list[dict[str, Any]], bool]:
    """A finished run's model and the data set's champion as each was evaluated, and whether on the same targets.

    No rows where there is no champion, it is this very model, or it was never evaluated. Raises ArtifactError where it
    is gone from the store.

    Args:
        store: the store.
        dataset: name of the data set.
        artifacts: all of a run, by planned name.
    """
    champion, evaluate = champion_of(store, dataset), artifacts["evaluate"]
    if champion is None or champion == artifacts["fuse"].fingerprint:
        return [], False
    lineage = Lineage(store)
    champion_evaluate = evaluation_of(lineage, find_model(lineage, dataset, champion))
    if champion_evaluate is None:
        return [], False
    rows = [
        {"model": model, "fingerprint": evaluation.manifest.key.parents["fuse"], **fused_metrics(evaluation)}
        for model, evaluation in (("this run", evaluate), ("champion", champion_evaluate))
    ]
    return rows, _targets_identity(evaluate) == _targets_identity(champion_evaluate)


def evaluation_of(lineage: Lineage, fuse: Artifact) -> Artifact | None:
    """The newest evaluation of a model."""
    newest = lineage.newest_of("evaluate", "fuse", fuse.fingerprint)
    return lineage.verified(newest) if newest else None


def _targets_identity(evaluate: Artifact) -> tuple[Any, ...]:
    """What an evaluation's targets depend on."""
    key = evaluate.manifest.key
    return key.parents["ingest"], key.config["own"]["split"], key.config["rules"]


def promote_first(store: ArtifactStore, dataset: str, artifacts: Mapping[str, Artifact]) -> Move | None:
    """Make a finished run's model the champion where the data set has none, and say so.

    Args:
        store: the store.
        dataset: name of the data set.
        artifacts: all of a run, by planned name.
    """
    if champion_of(store, dataset) is not None:
        return None
    fuse = artifacts["fuse"].fingerprint
    move = promote(store, dataset, fuse, "the first finished run", fused_metrics(artifacts["evaluate"]))
    logger.info("%s: %s is the champion, the first model of this data set", dataset, fuse)
    return move


def promote_model(store: ArtifactStore, dataset: str, model: str | None, why: str) -> Move:
    """Make a finished model the champion.

    Args:
        store: the store.
        dataset: name of the data set.
        model: the first digits of its fingerprint; None: the newest.
        why: kept in the history.

    Raises:
        ArtifactError: there is no such model, more than one, or a file of it is damaged.
    """
    lineage = Lineage(store)
    newest = [artifact.fingerprint for artifact in find_models(lineage, dataset)[-1:]]
    fuse = find_model(lineage, dataset, model if model is not None else next(iter(newest), ""))
    return promote(store, dataset, fuse.fingerprint, why, metrics_of(lineage, fuse))
