"""The evaluate stage: metrics of every member and of the fusion on the same targets, from lists that exist already."""

import numpy as np

from tsrec.columns import FUSED, LLM, LLMS, Split
from tsrec.errors import ArtifactError, DataError
from tsrec.evaluate.scoring import score
from tsrec.evaluate.settings import EvaluateSettings
from tsrec.evaluate.slices import target_slices
from tsrec.recommenders.candidates import read_candidates, stored_lists
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import REFIT, ablation_method, llm_name
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter


def run(config: EvaluateSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write `metrics` and `differences`.

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
    k = max(config.own.k)
    lists = {name: items[rows, :k] for name, items in _all_lists(parents, targets, split).items()}
    if split is Split.TEST and REFIT in stored_lists(parents["fuse"]):
        lists[REFIT] = read_candidates(parents["fuse"], REFIT, targets.only_split(Split.TEST)).items[:, :k]
    for name, items in lists.items():
        _check_full(name, items, targets, rows, catalogue.n_items, config)
    events = targets.events[rows]
    metrics, differences = score(
        lists,
        histories.items[events],
        targets.users[rows],
        target_slices(histories, events, catalogue.n_items),
        catalogue.n_items,
        config.own,
        against=(config.own.baseline, FUSED),
    )
    out.write_table("metrics", metrics)
    out.write_table("differences", differences)
    out.count(n_targets=len(rows), n_users=len(np.unique(targets.users[rows])))


def _all_lists(parents: Parents, targets: Targets, split: Split) -> dict[str, np.ndarray]:
    """(T, K) items of every method: the fusion and its members; on test also the fusions that leave members out."""
    lists = {FUSED: read_candidates(parents["fuse"], FUSED, targets).items}
    lists |= {name: read_candidates(parents[r], LLM, targets).items for r in parents if (name := llm_name(r))}
    members = stored_lists(parents["candidates"])
    lists |= {name: read_candidates(parents["candidates"], name, targets).items for name in members}
    if split is Split.TEST:
        stored = stored_lists(parents["fuse"])
        for name in [ablation_method(member) for member in (*lists, LLMS)]:
            if name in stored:
                lists[name] = read_candidates(parents["fuse"], name, targets).items
    return lists


def _check_full(
    name: str, items: np.ndarray, targets: Targets, rows: np.ndarray, n_items: int, config: EvaluateSettings
) -> None:
    """Raise ArtifactError unless every target has K items, or all that may be shown."""
    available = np.full(len(rows), n_items)
    if config.rules.repeats == "forbidden":
        available -= np.array([len(np.unique(past)) for past in targets.pasts(rows)])
    short = (items >= 0).sum(axis=1) < np.minimum(max(config.own.k), available)
    if short.any():
        event = targets.events[rows[np.argmax(short)]]
        raise ArtifactError(
            f"{name} gave {int(short.sum())} of {len(rows)} targets fewer items than it could, the first of them user "
            f"{targets.histories.user_ids[targets.histories.users()[event]]!r}; was it trained to finite weights?"
        )
