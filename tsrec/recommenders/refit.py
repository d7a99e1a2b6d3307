"""The refit stage: the members fitted once more on train *and* valid, as a nightly refresh has them, ranked on test.

The settings and the gate stay those that were found with train alone; what changes is how much the members have seen.
The LLM is not trained again here. Its row in the table, `fused refit`, says what recent events are worth.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsrec.columns import Split
from tsrec.config import Config, RecommendConfig, Section
from tsrec.histories import Histories
from tsrec.recommenders.candidates import Targets, ranked_table, ranked_targets, target_shards
from tsrec.recommenders.member import Catalogue, FitInputs, MemberKind, read_catalogue
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.stage_settings import RefitSettings
from tsrec.stage import Parents
from tsrec.store import Artifact, ArtifactWriter
from tsrec.store.work_files import kept_table

WITH_VALID = (Split.TRAIN, Split.VALID, Split.HISTORY)


def run(config: RefitSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write one table of candidates for each member, of the targets of test alone; resumes at the member it was at."""
    whole = Config().model_copy(update={"members": config.members})  # rules between sections are the run's affair
    _, histories = read_catalogue(parents["ingest"])
    catalogue, seen = seen_as_train(parents["ingest"], WITH_VALID)
    targets = test_targets(ranked_targets(histories, config.rules))
    for name in config.members.methods:
        kind = MEMBERS[name]
        settings, folder = kind.section(whole), out.work / name
        make = partial(fit_and_rank, kind, settings, seen, catalogue, targets, config.rules, parents, folder)
        out.write_table(name, kept_table(out.work / f"{name}.parquet", make))


def seen_as_train(ingest: Artifact, seen: Sequence[Split]) -> tuple[Catalogue, Histories]:
    """The catalogue and histories of an `ingest` artifact, events of the splits `seen` taken for train.

    What is context only (`Split.HISTORY`) stays so where it comes after an event of its user that is not seen: learning
    from it would tell of that one.
    """
    catalogue, histories = read_catalogue(ingest)
    is_seen = np.isin(histories.splits, [split.value for split in seen])
    n_before: np.ndarray = np.cumsum(~is_seen) - ~is_seen  # not seen, of all users
    is_after: np.ndarray = n_before > n_before[histories.offsets[histories.users()]]
    is_seen &= ~((histories.splits == Split.HISTORY.value) & is_after)
    known = replace(histories, splits=np.where(is_seen, Split.TRAIN.value, histories.splits))
    return catalogue.seeing(known), known


def test_targets(targets: Targets) -> Targets:
    """The targets of test alone."""
    return replace(targets, events=targets.events[targets.of(Split.TEST)])


def fit_and_rank(
    kind: MemberKind,
    settings: Section,
    histories: Histories,
    catalogue: Catalogue,
    targets: Targets,
    rules: RecommendConfig,
    parents: Parents,
    folder: Path,
) -> pa.Table:
    """Fit a member on the train events of `histories` and rank `targets`; `folder` is where it saves itself, and goes
    on after a kill."""
    folder.mkdir(exist_ok=True)
    kind.fit(FitInputs(histories, catalogue, settings, parents, folder, folder))
    shards = target_shards(kind.load(folder, settings), kind.name, catalogue, targets, rules, folder)
    return ranked_table(shards, kind.name)
