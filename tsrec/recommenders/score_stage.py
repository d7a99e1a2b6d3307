"""The score stage: the LLM's log-probabilities of what the other members propose, for the targets of valid and test."""

import numpy as np
import pyarrow as pa

from tsrec.columns import LLM, Split
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders.candidates import StoredLists, lists_to_table, shard_name, stored_lists, write_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.llm import load_llm
from tsrec.recommenders.refit import REFIT_SCORES
from tsrec.recommenders.scored_proposals import score_lists
from tsrec.recommenders.stage_settings import ScoreSettings
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.stage import Parents, Sharded
from tsrec.store import ArtifactWriter
from tsrec.store.shards import Shard, row_shards


def run(config: ScoreSettings, parents: Parents, out: ArtifactWriter) -> Sharded:
    """The LLM's scores of proposals, in the form of candidates; a killed run goes on at the shard it was at.

    One table of all targets; and where members are refitted, one of test with what these propose.
    """
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = select_targets(histories, config.rules)
    llm = load_llm(parents[trained_in(parents)], parents["sids"], catalogue, config.own)
    decoded = StoredLists(targets, {LLM: (parents["decode"], LLM)})

    def shards(name: str, role: str, scored: Targets, rows: np.ndarray) -> list[Shard]:
        """Of the targets `scored`, which are `rows` (S,) of all."""
        proposed = StoredLists(scored, {member: (parents[role], member) for member in stored_lists(parents[role])})

        def make(first: int, end: int) -> pa.Table:
            part = np.arange(first, end)
            lists = decoded.read(rows[part]) | proposed.read(part)
            some = scored.take(part)
            return lists_to_table(score_lists(llm, some.pasts(), lists, config.n_proposals), some)

        return row_shards(out.work, len(rows), config.own.shard_users, make, shard_name(name, config.own.batch_tokens))

    tables = {LLM: shards(LLM, "candidates", targets, np.arange(len(targets.events)))}
    if "refit" in parents:
        of_test = np.flatnonzero(targets.is_in_split(Split.TEST))
        tables[REFIT_SCORES] = shards(REFIT_SCORES, "refit", targets.only_split(Split.TEST), of_test)

    def write() -> None:
        for name, own in tables.items():
            write_candidates(out, own, name)
        out.count(n_targets=len(targets.events))

    return Sharded([shard for own in tables.values() for shard in own], write)
