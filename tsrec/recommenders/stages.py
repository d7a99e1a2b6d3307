"""The stages that turn members into lists: `candidates` of all that are not the LLM, `decode` of the LLM."""

from tsrec.columns import LLM
from tsrec.config import Config, DecodeConfig, RecommendConfig, Section
from tsrec.llm.trained_llm import trained_by, trained_in
from tsrec.recommenders.candidates import Targets, check_targets, ranked_table, ranked_targets, target_shards
from tsrec.recommenders.llm import load_llm
from tsrec.recommenders.member import read_catalogue
from tsrec.recommenders.members import open_member
from tsrec.stage import Parents, Stage
from tsrec.store import ArtifactWriter
from tsrec.store.shards import Shard


class DecodeSettings(Section):
    """What the decode stage reads: its own section, and the rules for all members."""

    own: DecodeConfig
    rules: RecommendConfig


def run_candidates(rules: RecommendConfig, parents: Parents, out: ArtifactWriter) -> None:
    """Write one table of candidates for each member; a killed run goes on at the shard it was at."""
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = ranked_targets(histories, rules)
    check_targets(targets)
    for name, artifact in parents.items():
        if name != "ingest":
            member = open_member(artifact)
            shards = target_shards(member, name, catalogue, targets, rules, out.work)
            out.write_table(name, ranked_table(shards, name))


def run_decode(config: DecodeSettings, parents: Parents, out: ArtifactWriter) -> None:
    """Write the LLM's candidates; a killed run goes on at the shard it was at."""
    targets, shards = _decoding(config, parents, out)
    out.write_table(LLM, ranked_table(shards, LLM))
    n_cut = int((targets.histories.positions()[targets.events] > config.own.max_history).sum())
    out.count(n_targets=len(targets.events), n_histories_cut=n_cut)


def _decoding(config: DecodeSettings, parents: Parents, out: ArtifactWriter) -> tuple[Targets, list[Shard]]:
    catalogue, histories = read_catalogue(parents["ingest"])
    targets = ranked_targets(histories, config.rules)
    check_targets(targets)
    llm = load_llm(parents[trained_in(parents)], parents["sids"], catalogue, config.own)
    sizes = {"batch": config.own.batch_users, "shard": config.own.shard_users}
    return targets, target_shards(llm, LLM, catalogue, targets, config.rules, out.work, **sizes)


def _member_parents(config: Config) -> tuple[str, ...]:
    return ("ingest", *config.members.methods)


CANDIDATES = Stage("candidates", 1, lambda config: config.recommend, _member_parents, run_candidates)

DECODE = Stage(
    name="decode",
    version=1,
    config=lambda config: DecodeSettings(own=config.decode, rules=config.recommend),
    parents=lambda config: ("ingest", "sids", trained_by(config)),
    run=run_decode,
    shards=lambda config, parents, out: _decoding(config, parents, out)[1],
)
