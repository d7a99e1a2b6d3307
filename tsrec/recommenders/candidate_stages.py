"""The two stages that rank targets by single members: `candidates` by all members but the LLM, `decode` by the LLM."""

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
from tsrec.recommenders.targets import Targets, check_targets, select_targets
from tsrec.stage import Parents
from tsrec.store import ArtifactWriter
from tsrec.store.shards import Shard

_SHARD = 4096  # targets; a second's work where the catalogue is small


def run_candidates(rules: RecommendConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write one table of candidates for each member; a killed run goes on at the shard it was at."""
    for name, shards in _candidate_shards(rules, parents, out).items():
        write_candidates(out, shards, name)


def candidate_shards(rules: RecommendConfig, parents: Parents, out: ArtifactWriter) -> list[Shard]:
    """The candidates of all members as shards, which several processes may make."""
    return [shard for shards in _candidate_shards(rules, parents, out).values() for shard in shards]


def _candidate_shards(rules: RecommendConfig, parents: Parents, out: ArtifactWriter) -> dict[str, list[Shard]]:
    """Member -> its shards. Only the member whose shard was made last is in memory."""
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = select_targets(histories, rules)
    check_targets(targets)

    @lru_cache(maxsize=1)
    def open_last(name: str) -> Member:
        return open_member(parents[name])

    work, names = out.work, [name for name in parents if name != "ingest"]
    return {n: target_shards(partial(open_last, n), n, catalogue, targets, rules, work, shard=_SHARD) for n in names}


def run_decode(config: DecodeSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write the LLM's candidates; a killed run goes on at the shard it was at."""
    targets, shards = _decode_targets(config, parents, out)
    write_candidates(out, shards, LLM)
    n_cut = int((targets.positions > config.own.max_history).sum())
    out.count(n_targets=len(targets.events), n_histories_cut=n_cut)


def decode_shards(config: DecodeSettings, parents: Parents, out: ArtifactWriter) -> list[Shard]:
    """The LLM's candidates as shards, which several processes may make."""
    return _decode_targets(config, parents, out)[1]


def _decode_targets(config: DecodeSettings, parents: Parents, out: ArtifactWriter) -> tuple[Targets, list[Shard]]:
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = select_targets(histories, config.rules)
    check_targets(targets)
    open_llm = cache(partial(load_llm, parents[trained_in(parents)], parents["sids"], catalogue, config.own))
    # The LLM makes its own batches, by tokens: there are never more users in one than tokens.
    sizes = {"batch": config.own.batch_tokens, "shard": config.own.shard_users}
    return targets, target_shards(open_llm, LLM, catalogue, targets, config.rules, out.work, **sizes)
