"""The soft_targets stage: what the members, fused, hold likely to come next, for the train targets of the LLM.

Cross-fitted, so that nothing is handed on that was memorized. Users are parted into folds; the targets of a fold are
ranked by members that have seen no event of its users, and weighed by a gate that was fitted on the targets of the
other folds. Valid and test are not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tsrec.columns import Split
from tsrec.config import Config, RecommendConfig
from tsrec.errors import DataError
from tsrec.histories import Histories
from tsrec.machine.progress import progress
from tsrec.recommenders.candidates import lists_table, ranked_of
from tsrec.recommenders.catalogue import Catalogue, read_catalogue
from tsrec.recommenders.gate import Gate, learnable, new_gate
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.pool import Pool
from tsrec.recommenders.ranking import Ranked, empty
from tsrec.recommenders.refit import fit_and_rank
from tsrec.recommenders.stage_settings import SoftTargetSettings
from tsrec.recommenders.targets import SEED, Targets, sample_events
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter
from tsrec.store.work_files import kept_table

TABLE = "soft_targets"
_DEPTH = 50  # proposals of each member
_GATE_TARGETS = 5_000  # that a gate is fitted on: it has few weights
_BLOCK = 512  # targets whose pools are in memory at once
_SHOWN = 10  # the manifest says how often the true item is among so many


def run(config: SoftTargetSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write `soft_targets`, in the form of candidates: for train targets, items and their log-probabilities.

    Goes on at the fold and the member it was at.
    """
    catalogue, histories = read_catalogue(parents["ingest"])
    crossed = CrossFitted.of(catalogue, histories, config, parents, out)
    soft = empty(len(crossed.fold), min(config.items, catalogue.n_items))
    for fold in progress(range(crossed.fold.max() + 1), desc="mixing soft targets", unit="fold"):
        crossed.mix(crossed.gate_without(fold), fold, soft)
    out.write_table(TABLE, lists_table(soft, crossed.targets))
    among_first = (soft.items[:, :_SHOWN] == crossed.targets.items[:, None]).any(axis=1)
    out.count(
        n_train_targets=len(histories.target_events(Split.TRAIN)),
        n_soft_targets=len(crossed.fold),
        n_true_among_first_10=int(among_first.sum()),
    )


@dataclass(frozen=True)
class CrossFitted:
    """`lists` of T train targets, name -> (T, K), each by members that know nothing of the users of its `fold` (T,);
    `popularity` (F, N, 2), that of every item by what each fold's members have seen."""

    targets: Targets
    fold: np.ndarray
    lists: dict[str, Ranked]
    popularity: np.ndarray
    config: SoftTargetSettings

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        histories: Histories,
        config: SoftTargetSettings,
        parents: Parents,
        out: ArtifactWriter,
    ) -> "CrossFitted":
        """Fit every member once a fold and rank the fold's targets.

        Raises:
            DataError: fewer than two users have a train target.
        """
        events = sample_events(histories.target_events(Split.TRAIN), config.max_targets, [SEED, 2])
        targets = Targets(histories, events)
        fold = folds_of(targets.users, config.folds)
        width = min(_DEPTH, catalogue.n_items)
        rules = RecommendConfig(repeats=config.repeats, n_candidates=width)
        lists: dict[str, Ranked] = {name: empty(len(events), width) for name in config.members.methods}
        sections = Config().model_copy(update={"members": config.members})
        popularity = []
        for number in range(fold.max() + 1):
            rows = np.flatnonzero(fold == number)
            seen = without_users(histories, targets.users[rows])
            known = catalogue.with_train_events_of(seen)
            popularity.append(known.popularity(recent=False))  # targets lie amid the events, not after them
            folder = out.work / f"fold {number} of {fold.max() + 1}"
            folder.mkdir(exist_ok=True)
            for name, ranked in lists.items():
                settings = MEMBERS[name].section(sections)
                mine = replace(targets, events=events[rows])
                make = partial(fit_and_rank, MEMBERS[name], settings, seen, known, mine, rules, parents, folder / name)
                found = ranked_of(kept_table(folder / f"{name}.parquet", make))
                ranked.items[rows, : found.items.shape[1]] = found.items
                ranked.scores[rows, : found.items.shape[1]] = found.scores
        return cls(targets, fold, lists, np.stack(popularity), config)

    def gate_without(self, fold: int) -> Gate:
        """A gate fitted on targets of all other folds."""
        gate = new_gate(self.lists, _DEPTH)
        pools, right = [], []
        for other in range(len(self.popularity)):
            if other != fold:
                rows = np.flatnonzero(self.fold == other)
                rows = sample_events(rows, _GATE_TARGETS // (len(self.popularity) - 1), [SEED, 3, other])
                for some in _blocks(rows):
                    right.append(self.targets.items[some])
                    pools.append(learnable(self._pool(gate, some, other), right[-1]))
        return gate.fitted(pools, right)

    def mix(self, gate: Gate, fold: int, into: Ranked) -> None:
        """Fuse the lists of a fold's targets."""
        for some in _blocks(np.flatnonzero(self.fold == fold)):
            into.items[some], into.scores[some] = gate.rank(self._pool(gate, some, fold), into.items.shape[1])[0]

    def _pool(self, gate: Gate, rows: np.ndarray, fold: int) -> Pool:
        lists = {name: ranked.of(rows) for name, ranked in self.lists.items()}
        return gate.pool(lists, self.targets.pasts(rows), self.popularity[fold])


def folds_of(users: np.ndarray, n_folds: int) -> np.ndarray:
    """(T,) int64: the fold of each target, that of its user; users are dealt out evenly, at random.

    Args:
        users: (T,) user index of each target.
        n_folds: at most so many; never more than there are users.

    Raises:
        DataError: fewer than two users have a target.
    """
    known, place = np.unique(users, return_inverse=True)
    if len(known) < 2:
        raise DataError(
            f"finetune.distill: {len(known)} user(s) have a train target, and whoever teaches must not have seen whom "
            "it teaches about; set finetune.distill.share=0"
        )
    dealt = np.random.default_rng([SEED, 4]).permutation(len(known)) % min(n_folds, len(known))
    return dealt[place]


def without_users(histories: Histories, users: np.ndarray) -> Histories:
    """The same histories, of which no event of some users (any indices, repeats too) is learned from."""
    is_out = np.isin(histories.users(), users)
    return replace(histories, splits=np.where(is_out, Split.HISTORY.value, histories.splits))


def _blocks(rows: np.ndarray) -> Sequence[np.ndarray]:
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
