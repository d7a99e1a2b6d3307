"""The score stage: the LLM's log-probabilities of what the other members propose, for the targets of valid and test."""

import numpy as np
import pyarrow as pa

from tsrec.columns import LLM
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders.candidates import StoredLists, lists_to_table, shard_name, stored_lists, write_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.llm import load_llm
from tsrec.recommenders.scored_proposals import score_lists
from tsrec.recommenders.stage_settings import ScoreSettings
from tsrec.recommenders.targets import select_targets
from tsrec.stage import Parents, Sharded
from tsrec.store import ArtifactWriter
from tsrec.store.shards import row_shards


def run(config: ScoreSettings, parents: Parents, out: ArtifactWriter) -> Sharded:
    """The LLM's scores of proposals, in the form of candidates; a killed run goes on at the shard it was at."""
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = select_targets(histories, config.rules)
    llm = load_llm(parents[trained_in(parents)], parents["sids"], catalogue, config.own)
    others = {name: (parents["candidates"], name) for name in stored_lists(parents["candidates"])}
    stored = StoredLists(targets, {LLM: (parents["decode"], LLM), **others})

    def make(first: int, end: int) -> pa.Table:
        rows = np.arange(first, end)
        some = targets.take(rows)
        return lists_to_table(score_lists(llm, some.pasts(), stored.read(rows), config.n_proposals), some)

    name = shard_name(LLM, config.own.batch_tokens)
    shards = row_shards(out.work, len(targets.events), config.own.shard_users, make, name)

    def write() -> None:
        write_candidates(out, shards, LLM)
        out.count(n_targets=len(targets.events))

    return Sharded(shards, write)
