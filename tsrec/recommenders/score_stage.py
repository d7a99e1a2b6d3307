"""The score stage: the LLM's log-probabilities of what the other members propose, for the targets of valid and test."""

from functools import partial

import numpy as np
import pyarrow as pa

from tsrec.columns import LLM
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders.candidates import StoredLists, lists_to_table, stored_lists, write_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.llm import load_llm
from tsrec.recommenders.scored_proposals import score_lists
from tsrec.recommenders.stage_settings import ScoreSettings
from tsrec.recommenders.targets import select_targets
from tsrec.stage import Parents, Sharded
from tsrec.store import ArtifactWriter
from tsrec.store.shards import Shard


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

    shards = []
    for start in range(0, len(targets.events), config.own.shard_users):
        rows = np.arange(start, min(start + config.own.shard_users, len(targets.events)))
        # Other batches may give other last bits, so shards of another batch size are not mixed in.
        path = out.work / f"{LLM} {rows[0]}-{rows[-1]}-{config.own.batch_tokens}.parquet"
        shards.append(Shard(path, partial(make, rows), len(rows)))

    def write() -> None:
        write_candidates(out, shards, LLM)
        out.count(n_targets=len(targets.events))

    return Sharded(shards, write)
