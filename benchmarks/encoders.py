"""Text encoders on the items of some profiles, in one table and without an LLM.

    python -m benchmarks.encoders configs/demo.yaml configs/industrial.yaml configs/beauty.yaml --data ../shared/data

`--data` is a folder with one folder per data set. Builds what the store lacks, and prints for each encoder:

- texts per second of processor time, loading and distilling included, if they were encoded in this call;
- NDCG@10 of `text-similarity` on valid, and its difference from the first encoder, with an interval over users;
- for SIDs by residual k-means from the texts alone: the items that share a SID before collisions are settled, the
  perplexity of every level, and the share of the embeddings' variance that SIDs do not explain.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tsrec import pipeline, sids
from tsrec.columns import ALL, Split
from tsrec.columns import Columns as C
from tsrec.config import Config, EvaluateConfig, load_config
from tsrec.evaluate.scoring import score
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.member import FitInputs
from tsrec.recommenders.member_registry import MEMBERS
from tsrec.recommenders.ranking import Filter
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.store import Artifact, ArtifactStore

K = 10
HEAD = ("data set", "encoder", "texts a second", "NDCG@10", "difference", "collide", "perplexity", "unexplained")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--encoders", nargs="+", default=["auto", "static-minilm-l6-v2"])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    arguments = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    for profile in arguments.profiles:
        folder = arguments.data / Path(profile).stem
        data = [f"ingest.path={folder}"] if folder.is_dir() else []
        own = ["sids.quantizer=residual-kmeans", "sids.cooccurrence=0"]
        compare(
            [
                load_config(profile, [*data, *own, f"embed.encoder={name}", *arguments.set])
                for name in arguments.encoders
            ]
        )


def compare(configs: list[Config]) -> None:
    """The lines of one data set; the other encoders are compared with the first."""
    lists, cells = {}, {}
    for config in configs:
        name = config.embed.encoder
        artifacts, seconds = build(config)
        catalogue, histories = read_catalogue(artifacts["ingest"])
        targets = select_targets(histories, config.recommend).only_split(Split.VALID)
        lists[name] = ranked(artifacts, targets, config)
        embeddings, made = artifacts["embed"].matrix("item_embeddings", C.EMBEDDING), artifacts["sids"]
        variance = float(np.square(embeddings - embeddings.mean(axis=0)).sum(axis=1).mean())
        cells[name] = (
            f"{len(embeddings) / seconds:.0f}" if seconds else "",
            f"{made.counts['n_collisions']:,}",
            ", ".join(f"{value:.0f}" for value in made.frame("codebook_health")["perplexity"]),
            f"{float(made.counts['reconstruction_error']) / variance:.3f}",
        )
    slices = {ALL: np.ones(len(targets.events), dtype=bool)}
    first = configs[0].embed.encoder
    metrics, differences = score(
        lists, targets.items, targets.users, slices, catalogue.n_items, EvaluateConfig(k=(K,)), (first,)
    )
    for name, (speed, *health) in cells.items():
        ndcg, apart = ndcg_and_difference(metrics, differences, name)
        line = (f"{configs[0].dataset} ({catalogue.n_items:,})", name, speed, ndcg, apart, *health)
        print(f"| {' | '.join(line)} |", flush=True)


def ndcg_and_difference(metrics: pd.DataFrame, differences: pd.DataFrame, name: str) -> tuple[str, str]:
    """A method's NDCG@10, and in words how far it is ahead of what the others are compared with; empty for that one."""
    (ndcg,) = metrics[(metrics[C.METHOD] == name) & (metrics[C.METRIC] == "ndcg")][C.VALUE]
    own = differences[(differences[C.METHOD] == name) & (differences[C.METRIC] == "ndcg")]
    apart = "{value:+.4f} [{ci_low:+.4f}, {ci_high:+.4f}]".format(**own.iloc[0]) if len(own) else ""
    return f"{ndcg:.4f}", apart


def build(config: Config) -> tuple[dict[str, Artifact], float]:
    """All that SIDs need, and the processor seconds of the embeddings; 0 where they were there."""
    store, artifacts, seconds = ArtifactStore(config.store), dict[str, Artifact](), 0.0
    for name, planned in pipeline.plan(config, goal=sids.STAGE).items():
        is_there, before = planned.found_in(store) is not None, time.process_time()
        artifacts[name] = pipeline.build(planned, store, artifacts)
        if name == "embed" and not is_there:
            seconds = time.process_time() - before
    return artifacts, seconds


def ranked(
    artifacts: dict[str, Artifact], targets: Targets, config: Config, member_name: str = "text-similarity"
) -> np.ndarray:
    """(T, 10) lists of a member, which is fitted here."""
    catalogue, histories = read_catalogue(artifacts["ingest"])
    kind = MEMBERS[member_name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind.fit(FitInputs(histories, catalogue, kind.section(config.members), artifacts, folder, folder))
        member = kind.load(folder, kind.section(config.members))
    lists = []
    for start in range(0, len(targets.events), 512):
        pasts = targets.pasts(slice(start, start + 512))
        allow = Filter(catalogue.n_items, pasts if config.recommend.repeats == "forbidden" else None)
        lists.append(member.rank(pasts, K, allow).items)
    return np.concatenate(lists)


if __name__ == "__main__":
    main()
