"""The score stage: the LLM's log-probabilities of what the other members propose, for the targets of valid and test."""

from functools import partial

import numpy as np
import pyarrow as pa

from tsrec.columns import LLM, Split
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders.candidates import StoredLists, lists_to_table, stored_lists, write_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.llm import load_llm
from tsrec.recommenders.refit import REFIT_SCORES
from tsrec.recommenders.scored_proposals import score_lists
from tsrec.recommenders.stage_settings import ScoreSettings
from tsrec.recommenders.targets import select_targets
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter
from tsrec.store.shards import Shard


def run(config: ScoreSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write the LLM's scores of proposals, in the form of candidates; a killed run goes on at the shard it was at."""
    tables = _shards_by_table(config, parents, out)
    for name, shards in tables.items():
        write_candidates(out, shards, name)
    out.count(n_targets=sum(shard.n for shard in tables[LLM]))


def score_shards(config: ScoreSettings, parents: Parents, out: ArtifactWriter) -> list[Shard]:
    """The scores as shards, which several processes may make."""
    return [shard for shards in _shards_by_table(config, parents, out).values() for shard in shards]


def _shards_by_table(config: ScoreSettings, parents: Parents, out: ArtifactWriter) -> dict[str, list[Shard]]:
    """The table of all targets; and where members are refitted, that of test with what these propose."""
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = select_targets(histories, config.rules)
    llm = load_llm(parents[trained_in(parents)], parents["sids"], catalogue, config.own)
    own = StoredLists(targets, {LLM: (parents["decode"], LLM)})

    def make(numbers: np.ndarray, others: StoredLists, rows: np.ndarray) -> pa.Table:
        some = others.targets.take(rows)
        lists = own.read(numbers[rows]) | others.read(rows)
        return lists_to_table(score_lists(llm, some.pasts(), lists, config.n_proposals), some)

    def shards(name: str, role: str, split: Split | None = None) -> list[Shard]:
        is_wanted = targets.is_in_split(split) if split else np.ones(len(targets.events), dtype=bool)
        numbers = np.flatnonzero(is_wanted)
        others = StoredLists(
            targets.only_split(split) if split else targets,
            {member: (parents[role], member) for member in stored_lists(parents[role])},
        )
        found = []
        for start in range(0, len(numbers), config.own.shard_users):
            rows = np.arange(start, min(start + config.own.shard_users, len(numbers)))
            # Other batches may give other last bits, so shards of another batch size are not mixed in.
            path = out.work / f"{name} {rows[0]}-{rows[-1]}-{config.own.batch_tokens}.parquet"
            found.append(Shard(path, partial(make, numbers, others, rows), len(rows)))
        return found

    tables = {LLM: shards(LLM, "candidates")}
    return tables | ({REFIT_SCORES: shards(REFIT_SCORES, "refit", Split.TEST)} if "refit" in parents else {})
