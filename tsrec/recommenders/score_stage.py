"""The score stage: the LLM's log-probabilities of what the other members propose, for the targets of valid and test."""

import numpy as np
import pyarrow as pa

from tsrec.columns import LLM
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders.candidates import StoredLists, lists_to_table, shards_of_rows, stored_lists, write_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.llm import load_llm
from tsrec.recommenders.scored_proposals import score_lists
from tsrec.recommenders.stage_settings import ScoreSettings
from tsrec.recommenders.targets import select_targets
from tsrec.stage import Parents, Sharded
from tsrec.store import ArtifactWriter


def run(config: ScoreSettings, parents: Parents, out: ArtifactWriter) -> Sharded:
    """The LLM's scores of proposals, in the form of candidates; a killed run goes on at the shard it was at."""
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = select_targets(histories, config.rules)
    llm = load_llm(parents[trained_in(parents)], parents["sids"], catalogue, config.own)
    others = {name: (parents["candidates"], name) for name in stored_lists(parents["candidates"])}
    stored = StoredLists(targets, {LLM: (parents["decode"], LLM), **others})

    def make(rows: np.ndarray) -> pa.Table:
        some = targets.take(rows)
        return lists_to_table(score_lists(llm, some.pasts(), stored.read(rows), config.n_proposals), some)

    sizes = {"shard": config.own.shard_users, "batch": config.own.batch_tokens}
    shards = shards_of_rows(out.work, LLM, len(targets.events), make, **sizes)

    def write() -> None:
        write_candidates(out, shards, LLM)
        out.count(n_targets=len(targets.events))

    return Sharded(shards, write)
