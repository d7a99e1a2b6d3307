"""All quantizers on the items of some profiles, in one table and without an LLM.

    python -m benchmarks.quantizers configs/industrial.yaml configs/beauty.yaml --data ../shared/data

`--data` names the folder that holds a folder per data set. Builds ingest and embed where the store lacks them, and the
semantic IDs of every quantizer, each without and with co-occurrence beside the texts (`--cooccurrence`), and prints a
line each:

- items that share a SID before collisions are settled, and those that moved to be alone;
- of every level: perplexity, and codes that no item has (dead);
- the share of the text embeddings' variance that the SIDs leave unexplained, measured on the embeddings themselves,
  whatever space the quantizer works in;
- how often the next item of `valid` has the same first code as the item before it, divided by how often two items
  drawn by how often they are bought have: what a recommender could gain from level 1 alone;
- seconds of the stage, and of processor time where it was built now.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tsrec import pipeline, sids
from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.config import Config, load_config
from tsrec.histories import read_histories
from tsrec.store import Artifact, ArtifactStore

QUANTIZERS = ("residual-kmeans", "balanced-kmeans", "rq-vae", "opq")
HEAD = (
    "data set",
    "quantizer",
    "co-occurrence",
    "collide",
    "moved",
    "perplexity",
    "dead",
    "unexplained",
    "next shares level 1",
    "seconds",
    "processor seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cooccurrence", type=float, nargs="*", default=[0.0, 0.5], metavar="WEIGHT")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    arguments = parser.parse_args()
    _print_row(HEAD)
    _print_row(["---"] * len(HEAD))
    for profile in arguments.profiles:
        data = [f"ingest.path={arguments.data / Path(profile).stem}"]
        for quantizer in QUANTIZERS:
            for weight in arguments.cooccurrence:
                own = [f"sids.quantizer={quantizer}", f"sids.cooccurrence={weight}"]
                _print_row(measure(load_config(profile, [*data, *own, *arguments.set])))


def measure(config: Config) -> list[str]:
    """One line of the table."""
    store = ArtifactStore(config.store)
    artifacts: dict[str, Artifact] = {}
    for name, planned in pipeline.plan(config, goal=sids.STAGE).items():
        is_there, before = planned.found_in(store) is not None, time.process_time()
        artifacts[name] = pipeline.build(planned, store, artifacts)
        processor = "" if is_there else f"{time.process_time() - before:.0f}"
    made = artifacts["sids"]
    health = made.frame("codebook_health")
    embeddings = artifacts["embed"].matrix("item_embeddings", C.EMBEDDING)
    variance = float(np.square(embeddings - embeddings.mean(axis=0)).sum(axis=1).mean())
    return [
        f"{config.dataset} ({len(embeddings):,})",
        config.sids.quantizer,
        f"{config.sids.cooccurrence:g}" if config.sids.cooccurrence else "",
        f"{made.counts['n_collisions']:,}",
        f"{made.counts['n_moved']:,}",
        ", ".join(f"{value:.0f}" for value in health["perplexity"]),
        ", ".join(f"{row.n_codes - row.used}" for row in health.itertuples()),
        f"{float(made.counts['reconstruction_error']) / variance:.3f}",
        f"{shared_first_codes(artifacts):.1f}",
        f"{made.manifest.seconds:.0f}",
        processor,
    ]


def shared_first_codes(artifacts: dict[str, Artifact]) -> float:
    """How many times more often than by chance a target of valid and the item before it have the same first code."""
    histories = read_histories(artifacts["ingest"])
    first = artifacts["sids"].matrix("item_sids", C.CODES)[:, 0]
    targets = histories.target_events(Split.VALID)
    now, before = histories.items[targets], histories.items[targets - 1]
    other = now != before  # whoever buys the same again shares every code
    shares = [np.bincount(first[items[other]], minlength=int(first.max()) + 1) / other.sum() for items in (now, before)]
    return float((first[now] == first[before])[other].mean() / (shares[0] @ shares[1]))


def _print_row(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
