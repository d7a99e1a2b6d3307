"""The evaluate stage: metrics of every member and of the fusion on the same targets, from lists that exist already."""

import numpy as np

from tsrec.columns import FUSED, LLMS, Split
from tsrec.errors import ArtifactError, DataError
from tsrec.evaluate.scoring import score_ranks, target_ranks
from tsrec.evaluate.settings import EvaluateSettings
from tsrec.evaluate.slices import target_slices
from tsrec.recommenders.candidates import StoredLists, stored_lists
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import REFIT, ablation_method, member_sources
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactWriter


def run(config: EvaluateSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write `metrics` and `differences`. Lists are read in blocks: memory holds a rank of every target and method.

    Raises:
        DataError: the split has no targets.
        ArtifactError: a method gave a target fewer items than it could.
    """
    catalogue, histories = read_catalogue(parents["ingest"])
    split = Split(config.own.split)
    targets = select_targets(histories, config.rules)
    rows = np.flatnonzero(targets.is_in_split(split))
    if not len(rows):
        raise DataError(f"no {split.value} targets: no user has an earlier event; see ingest.split")
    ranked = targets.take(rows)
    n_due = _n_due(ranked, catalogue.n_items, config)
    found = {
        name: _read_ranks(StoredLists(targets, {name: source}), rows, n_due, catalogue.n_items, config)
        for name, source in _sources(parents, split).items()
    }
    if split is Split.TEST and REFIT in stored_lists(parents["fuse"]):
        refit = StoredLists(ranked, {REFIT: (parents["fuse"], REFIT)})
        found[REFIT] = _read_ranks(refit, np.arange(len(rows)), n_due, catalogue.n_items, config)
    metrics, differences = score_ranks(
        {name: ranks for name, (ranks, _) in found.items()},
        {name: coverages for name, (_, coverages) in found.items()},
        ranked.users,
        target_slices(histories, ranked.events, catalogue.n_items),
        config.own,
        against=(config.own.baseline, FUSED),
    )
    out.write_table("metrics", metrics)
    out.write_table("differences", differences)
    out.count(n_targets=len(rows), n_users=len(np.unique(ranked.users)))


def _sources(parents: Parents, split: Split) -> dict[str, tuple[Artifact, str]]:
    """Where the lists of every method are: of the fusion, its members, and on test the fusions without some of them."""
    members = member_sources(parents)
    stored = stored_lists(parents["fuse"]) if split is Split.TEST else []
    ablations = [name for member in (FUSED, *members, LLMS) if (name := ablation_method(member)) in stored]
    return {FUSED: (parents["fuse"], FUSED), **members, **{name: (parents["fuse"], name) for name in ablations}}


def _n_due(targets: Targets, n_items: int, config: EvaluateSettings) -> np.ndarray:
    """(T,) how many items each target's list must have: K, or all that may be shown where those are fewer."""
    n_due = np.full(len(targets.events), n_items)
    if config.rules.repeats == "forbidden":
        may_be_short = np.flatnonzero(targets.positions > n_items - max(config.own.k))
        n_due[may_be_short] -= np.array([len(np.unique(past)) for past in targets.pasts(may_be_short)], dtype=np.int64)
    return np.minimum(n_due, max(config.own.k))


def _read_ranks(
    stored: StoredLists, rows: np.ndarray, n_due: np.ndarray, n_items: int, config: EvaluateSettings
) -> tuple[np.ndarray, list[float]]:
    """One method's rank of each target's item (T,), 0 where its list lacks it, and its coverage at each cut-off.

    Raises:
        ArtifactError: a list has fewer than `n_due` (T,) items.
    """
    (name,), ranks, lengths = stored.sources, [], []
    is_shown = np.zeros((len(config.own.k), n_items), dtype=bool)
    for block, lists in stored.blocks(rows):
        items = lists[name].items[:, : max(config.own.k)]
        ranks.append(target_ranks(items, stored.targets.take(block).items))
        lengths.append((items >= 0).sum(axis=1))
        for k, shown in zip(config.own.k, is_shown, strict=True):
            shown[items[:, :k][items[:, :k] >= 0]] = True
    short = np.concatenate(lengths) < n_due
    if short.any():
        user = stored.targets.histories.user_ids[stored.targets.users[rows[np.argmax(short)]]]
        raise ArtifactError(
            f"{name} gave {int(short.sum())} of {len(rows)} targets fewer items than it could, the first of them user "
            f"{user!r}; was it trained to finite weights?"
        )
    return np.concatenate(ranks), is_shown.mean(axis=1).tolist()
