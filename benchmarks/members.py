"""One member of the fusion with several settings, side by side on valid: what its own lists are worth.

    python -m benchmarks.members configs/beauty.yaml sasrec --set ingest.path=FOLDER \
        --variant own --variant "longer: members.sasrec.epochs=25"

Each `--variant` is a name and, behind a colon, its settings, separated by spaces. The first one is what the others are
compared with; differences are paired over users, so settings that change the targets are refused. Every artifact that
the variants have in common is built once.
"""

import argparse
import time

import numpy as np

from tsrec import pipeline
from tsrec.columns import ALL, Split
from tsrec.columns import Columns as C
from tsrec.config import EvaluateConfig, load_config
from tsrec.evaluate.scoring import score
from tsrec.recommenders import CANDIDATES
from tsrec.recommenders.candidates import read_candidates
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.targets import select_targets
from tsrec.store import Artifact, ArtifactStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("member")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--variant", action="append", required=True, metavar="NAME[: SETTINGS]")
    arguments = parser.parse_args()
    lists: dict[str, np.ndarray] = {}
    right = np.empty(0, dtype=np.int64)
    for variant in arguments.variant:
        name, _, settings = variant.partition(":")
        alone = (f"members.methods=[{arguments.member}]", f"evaluate.baseline={arguments.member}")
        own = [*arguments.set, *alone, *settings.split()]
        config = load_config(arguments.profile, own)
        store, began = ArtifactStore(config.store), time.monotonic()
        artifacts: dict[str, Artifact] = {}
        for planned in pipeline.plan(config, goal=CANDIDATES).values():
            artifacts[planned.name] = pipeline.build(planned, store, artifacts)
        catalogue, histories = read_catalogue(artifacts["ingest"])
        targets = select_targets(histories, config.recommend)
        rows = np.flatnonzero(targets.is_in_split(Split.VALID))
        ranked = read_candidates(artifacts[CANDIDATES.name], arguments.member, targets)
        if lists and not np.array_equal(right, targets.items[rows]):
            raise SystemExit(f"{name} has other targets than {next(iter(lists))}: nothing can be compared")
        right = targets.items[rows]
        lists[name] = ranked.items[rows, : max(config.evaluate.k)]
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    print_comparison(lists, right, targets.users[rows], catalogue.n_items, config.evaluate)


def print_comparison(
    lists: dict[str, np.ndarray], items: np.ndarray, users: np.ndarray, n_items: int, config: EvaluateConfig
) -> None:
    """Print HR and NDCG at the largest cut-off, and how far all are ahead of the first.

    Args:
        lists: name -> (T, K) lists.
        items: (T,) the targets' items.
        users: (T,) their users.
        n_items: of the catalogue.
        config: cut-offs.
    """
    k, slices = max(config.k), {ALL: np.ones(len(items), dtype=bool)}
    for table in score(lists, items, users, slices, n_items, config, against=(next(iter(lists)),)):
        shown = table[(table[C.K] == k) & table[C.METRIC].isin(["hr", "ndcg"])]
        print(shown.drop(columns=[C.SLICE, C.K], errors="ignore").round(4).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
