"""What SASRec's sampled loss costs in quality, on a catalogue small enough for the loss over all items.

    python -m benchmarks.sampled_loss configs/beauty.yaml --set ingest.path=FOLDER --sampled 4096 1024

Trains SASRec with the loss over all items, then with so many sampled items a step; builds what it needs where that is
missing. Prints the processor seconds of each training and of its lists, NDCG@10 on valid, and its difference from the
first, with an interval over users.
"""

import argparse
import time

import numpy as np

from benchmarks.encoders import build, ndcg_and_difference, ranked
from tsrec.columns import ALL, Split
from tsrec.config import EvaluateConfig, load_config
from tsrec.evaluate.scoring import score
from tsrec.recommenders import sasrec
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.targets import select_targets

FULL = "all items"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--sampled", type=int, nargs="+", default=[4_096, 1_024])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    arguments = parser.parse_args()
    config = load_config(arguments.profile, arguments.set)
    artifacts, _ = build(config)
    catalogue, histories = read_catalogue(artifacts["ingest"])
    targets = select_targets(histories, config.recommend).only_split(Split.VALID)
    lists, seconds = {}, {}
    for name, n_sampled in [(FULL, None), *((f"{n} sampled", n) for n in arguments.sampled)]:
        if n_sampled:  # what the stage does above this size
            sasrec._ALL_ITEMS_AT_MOST, sasrec._SAMPLED_ITEMS = 0, n_sampled
        before = time.process_time()
        lists[name] = ranked(artifacts, targets, config, "sasrec")
        seconds[name] = time.process_time() - before
    slices = {ALL: np.ones(len(targets.events), dtype=bool)}
    evaluated = EvaluateConfig(k=(10,))
    metrics, differences = score(lists, targets.items, targets.users, slices, catalogue.n_items, evaluated, (FULL,))
    print(f"{config.dataset}, {catalogue.n_items:,} items\n")
    print("| loss over | seconds | NDCG@10 | difference |\n|---|---|---|---|")
    for name, spent in seconds.items():
        print(f"| {name} | {spent:.0f} | {' | '.join(ndcg_and_difference(metrics, differences, name))} |")


if __name__ == "__main__":
    main()
