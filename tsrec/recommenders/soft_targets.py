"""The soft_targets stage: for the LLM's train targets, the probabilities that the fused members give the next item.

Distillation trains the LLM on them. They are cross-fitted, so that no memorized target is handed on. Users are split
into folds. The targets of a fold are ranked by members that have seen no event of its users, and scored by a gate that
was fitted on the other folds. Valid and test are not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tsrec.columns import Split
from tsrec.config import RecommendConfig
from tsrec.errors import DataError
from tsrec.histories import Histories
from tsrec.machine.progress import progress
from tsrec.recommenders.candidates import lists_from_table, lists_to_table
from tsrec.recommenders.catalogue import Catalogue, read_catalogue
from tsrec.recommenders.fusion_gate import Gate, new_gate, with_target_in_pool
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.pool import Pool
from tsrec.recommenders.ranking import Ranked, empty_lists
from tsrec.recommenders.refit import fit_and_rank
from tsrec.recommenders.stage_settings import SoftTargetSettings
from tsrec.recommenders.targets import SEED, Targets, sample_events
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter
from tsrec.store.work_files import kept_table

TABLE = "soft_targets"
_DEPTH = 50  # items of each member's list
_GATE_TARGETS = 5_000  # targets that a gate is fitted on, at most: it has few weights
_BLOCK = 512  # targets whose pools are in memory at once
_COUNTED = 10  # the manifest counts how often the target is among the first so many items


def run(config: SoftTargetSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write `soft_targets`, in the form of candidates: for train targets, items and their log-probabilities.

    A killed run goes on at the fold and the member it was at.
    """
    catalogue, histories = read_catalogue(parents["ingest"])
    crossed = CrossFitted.fit(catalogue, histories, config, parents, out)
    soft = empty_lists(len(crossed.fold), min(config.items, catalogue.n_items))
    for fold in progress(range(crossed.fold.max() + 1), desc="mixing soft targets", unit="fold"):
        crossed.rank_fold(crossed.gate_for_fold(fold), fold, soft)
    out.write_table(TABLE, lists_to_table(soft, crossed.targets))
    is_among_first = (soft.items[:, :_COUNTED] == crossed.targets.items[:, None]).any(axis=1)
    out.count(
        n_train_targets=len(histories.target_events(Split.TRAIN)),
        n_soft_targets=len(crossed.fold),
        n_true_among_first_10=int(is_among_first.sum()),
    )


@dataclass(frozen=True)
class CrossFitted:
    """Lists of T train targets, by members that have seen no event of their users.

    `fold` (T,): the fold of each target; `lists`: member -> (T, K) lists; `popularity` (F, N, 2): for each of F folds,
    the popularity of every item among the events that the fold's members have seen.
    """

    targets: Targets
    fold: np.ndarray
    lists: dict[str, Ranked]
    popularity: np.ndarray
    config: SoftTargetSettings

    @classmethod
    def fit(
        cls,
        catalogue: Catalogue,
        histories: Histories,
        config: SoftTargetSettings,
        parents: Parents,
        out: ArtifactWriter,
    ) -> "CrossFitted":
        """Fit every member once for each fold, and rank the fold's targets.

        Raises:
            DataError: fewer than two users have a train target.
        """
        events = sample_events(histories.target_events(Split.TRAIN), config.max_targets, [SEED, 2])
        targets = Targets(histories, events)
        fold = assign_folds(targets.users, config.folds)
        width = min(_DEPTH, catalogue.n_items)
        rules = RecommendConfig(repeats=config.repeats, n_candidates=width)
        lists: dict[str, Ranked] = {name: empty_lists(len(events), width) for name in config.members.methods}
        popularity = []
        for number in range(fold.max() + 1):
            rows = np.flatnonzero(fold == number)
            others = hold_out_users(histories, targets.users[rows])
            others_catalogue = catalogue.with_train_events_of(others)
            # Without recent popularity: train targets lie amid the train events, not after them.
            popularity.append(others_catalogue.popularity(recent=False))
            folder = out.work / f"fold {number} of {fold.max() + 1}"
            folder.mkdir(exist_ok=True)
            for name, ranked in lists.items():
                settings = MEMBERS[name].section(config.members)
                make = partial(
                    fit_and_rank,
                    MEMBERS[name],
                    settings,
                    others,
                    others_catalogue,
                    replace(targets, events=events[rows]),
                    rules,
                    parents,
                    folder / name,
                )
                found = lists_from_table(kept_table(folder / f"{name}.parquet", make))
                ranked.items[rows, : found.items.shape[1]] = found.items
                ranked.scores[rows, : found.items.shape[1]] = found.scores
        return cls(targets, fold, lists, np.stack(popularity), config)

    def gate_for_fold(self, fold: int) -> Gate:
        """The gate that ranks `fold`: it is fitted on targets of all other folds."""
        gate = new_gate(self.lists, _DEPTH)
        pools, items = [], []
        for other in range(len(self.popularity)):
            if other != fold:
                rows = np.flatnonzero(self.fold == other)
                rows = sample_events(rows, _GATE_TARGETS // (len(self.popularity) - 1), [SEED, 3, other])
                for block in _blocks(rows):
                    items.append(self.targets.items[block])
                    pools.append(with_target_in_pool(self._pool(gate, block, other), items[-1]))
        return gate.fitted(pools, items)

    def rank_fold(self, gate: Gate, fold: int, into: Ranked) -> None:
        """Fuse the lists of the fold's targets by `gate`, and write them into `into`."""
        for block in _blocks(np.flatnonzero(self.fold == fold)):
            into.items[block], into.scores[block] = gate.rank(self._pool(gate, block, fold), into.items.shape[1])[0]

    def _pool(self, gate: Gate, rows: np.ndarray, fold: int) -> Pool:
        lists = {name: ranked.take(rows) for name, ranked in self.lists.items()}
        return gate.pool(lists, self.targets.pasts(rows), self.popularity[fold])


def assign_folds(users: np.ndarray, n_folds: int) -> np.ndarray:
    """(T,) int64: the fold of each target. Users are assigned at random, to folds of equal size.

    Args:
        users: (T,) user index of each target.
        n_folds: number of folds, lowered to the number of users.

    Raises:
        DataError: fewer than two users have a target.
    """
    present, user_number = np.unique(users, return_inverse=True)
    if len(present) < 2:
        raise DataError(
            f"finetune.distill: {len(present)} user(s) have a train target, and whoever teaches must not have seen "
            "whom it teaches about; set finetune.distill.share=0"
        )
    folds = np.random.default_rng([SEED, 4]).permutation(len(present)) % min(n_folds, len(present))
    return folds[user_number]


def hold_out_users(histories: Histories, users: np.ndarray) -> Histories:
    """The same histories, with all events of `users` (any number of user indices) as context, so that none is train."""
    is_held_out = np.isin(histories.users(), users)
    return replace(histories, splits=np.where(is_held_out, Split.HISTORY.value, histories.splits))


def _blocks(rows: np.ndarray) -> Sequence[np.ndarray]:
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
