"""What `tsrec models` does and prints: the finished models of a data set, and which of them is the champion."""

from argparse import Namespace
from collections.abc import Mapping

from tsrec.config import load_config
from tsrec.store import ArtifactStore, Lineage
from tsrec.store.champions import Move, champion_of, moves_of, roll_back


def list_models(options: Namespace) -> None:
    """One line per finished model of the profile's data set, oldest first; the champion has a star."""
    from tsrec.pipeline.promotion import metrics_of
    from tsrec.recommenders.model_lookup import find_models

    store, dataset = _place(options)
    lineage, champion = Lineage(store), champion_of(store, dataset)
    models = find_models(lineage, dataset)
    for fuse in models:
        mark = "*" if fuse.fingerprint == champion else " "
        print(f"{mark} {fuse.fingerprint}  {fuse.manifest.created[:19]}  {_figures(metrics_of(lineage, fuse))}")
    if not models:
        print(f"no finished model of {dataset} in {store.root}; give `tsrec run` first")
    elif champion is None:
        print(f"{dataset} has no champion: the newest model recommends; `tsrec models promote` makes it one")


def show_models(options: Namespace) -> None:
    """Every move of the champion, oldest first."""
    store, dataset = _place(options)
    moves = moves_of(store, dataset)
    for move in moves:
        print(_words(move))
    print(f"champion of {dataset}: {champion_of(store, dataset) or 'none'}")


def promote(options: Namespace) -> None:
    """Make a model the champion."""
    from tsrec.pipeline.promotion import promote_model

    store, dataset = _place(options)
    print(_words(promote_model(store, dataset, options.model, options.why)))


def rollback(options: Namespace) -> None:
    """Make the champion before the present one the champion again."""
    store, dataset = _place(options)
    print(_words(roll_back(store, dataset, options.why)))


def _place(options: Namespace) -> tuple[ArtifactStore, str]:
    config = load_config(options.profile, options.set)
    return ArtifactStore(config.store), config.dataset


def _words(move: Move) -> str:
    before = f" (before: {move.previous})" if move.previous else ""
    return f"{move.when[:19]}  {move.kind:8s}  {move.to}{before}  {_figures(move.metrics)}  {move.why}"


def _figures(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" if "@" in name else f"{name} {value:g}" for name, value in metrics.items())
