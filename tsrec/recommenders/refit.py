"""The refit stage: members fitted again on train *and* valid, as a nightly refresh fits them, and ranked on test.

Settings and gate stay those that were found with train alone, and the LLM is not trained again. Only the members see
more events. The row `fused refit` in `metrics` says what recent events are worth.
"""

from functools import cache, partial
from pathlib import Path

import pyarrow as pa

from tsrec.columns import LLM, Split
from tsrec.config import RecommendConfig, Section
from tsrec.histories import Histories
from tsrec.recommenders.candidates import target_shards
from tsrec.recommenders.catalogue import Catalogue, read_catalogue, read_catalogue_as_train
from tsrec.recommenders.member import FitInputs, MemberKind
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.stage_settings import RefitSettings
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter
from tsrec.store.shards import tables_of
from tsrec.store.work_files import kept_table

REFIT_SCORES = f"{LLM} refit"
"""The table of the stage `score` that has the LLM's scores of what refitted members propose."""
WITH_VALID = (Split.TRAIN, Split.VALID, Split.HISTORY)


def run(config: RefitSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write one table of candidates for each member, of the targets of test alone; resumes at the member it was at."""
    _, histories = read_catalogue(parents["ingest"])
    catalogue, train_histories = read_catalogue_as_train(parents["ingest"], WITH_VALID)
    targets = select_targets(histories, config.rules).only_split(Split.TEST)
    for name in config.members.methods:
        kind = MEMBERS[name]
        settings, folder = kind.section(config.members), out.work / name
        make = partial(fit_and_rank, kind, settings, train_histories, catalogue, targets, config.rules, parents, folder)
        out.write_table(name, kept_table(out.work / f"{name}.parquet", make))


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
    """Fit a member on the train events of `histories`, and rank `targets` by it, as a table of candidates.

    The member saves itself in `folder`, and goes on from there after a kill.
    """
    folder.mkdir(exist_ok=True)
    kind.fit(FitInputs(histories, catalogue, settings, parents, folder, folder))
    open_member = cache(partial(kind.load, folder, settings))
    shards = target_shards(open_member, kind.name, catalogue, targets, rules, folder)
    return pa.concat_tables(tables_of(shards, f"ranking by {kind.name}", "target"))
