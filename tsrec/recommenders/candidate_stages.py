"""The two stages that rank targets by single members: `candidates` by all members but the LLM, `decode` by the LLM.

A killed run goes on at the shard it was at.
"""

from functools import cache, lru_cache, partial

from tsrec.columns import LLM
from tsrec.config import RecommendConfig
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders.candidates import target_shards, write_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.llm import load_llm
from tsrec.recommenders.member import Member
from tsrec.recommenders.member_registry import open_member
from tsrec.recommenders.stage_settings import DecodeSettings
from tsrec.recommenders.targets import check_targets, select_targets
from tsrec.stage import Parents, Sharded
from tsrec.store import ArtifactWriter

_SHARD = 4096  # targets; a second's work where the catalogue is small


def run_candidates(rules: RecommendConfig, parents: Parents, out: ArtifactWriter) -> Sharded:
    """One table of candidates for each member. Only the member whose shard was made last is in memory."""
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = select_targets(histories, rules)
    check_targets(targets)

    @lru_cache(maxsize=1)
    def open_last(name: str) -> Member:
        return open_member(parents[name])

    work, names = out.work, [name for name in parents if name != "ingest"]
    of_members = {
        n: target_shards(partial(open_last, n), n, catalogue, targets, rules, work, shard=_SHARD) for n in names
    }

    def write() -> None:
        for name, shards in of_members.items():
            write_candidates(out, shards, name)

    return Sharded([shard for shards in of_members.values() for shard in shards], write)


def run_decode(config: DecodeSettings, parents: Parents, out: ArtifactWriter) -> Sharded:
    """The LLM's candidates."""
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = select_targets(histories, config.rules)
    check_targets(targets)
    open_llm = cache(partial(load_llm, parents[trained_in(parents)], parents["sids"], catalogue, config.own))
    # The LLM makes its own batches, by tokens: there are never more users in one than tokens.
    sizes = {"batch": config.own.batch_tokens, "shard": config.own.shard_users}
    shards = target_shards(open_llm, LLM, catalogue, targets, config.rules, out.work, **sizes)

    def write() -> None:
        write_candidates(out, shards, LLM)
        n_cut = int((targets.positions > config.own.max_history).sum())
        out.count(n_targets=len(targets.events), n_histories_cut=n_cut)

    return Sharded(shards, write)
