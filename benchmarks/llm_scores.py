"""What the fusion gains from the LLM's scores of what others propose, on valid, and what they take.

    python -m benchmarks.llm_scores configs/industrial.yaml --set ingest.path=FOLDER --scores 100 200

Builds what `fuse` needs where it is missing. Then the LLM scores the first N proposals of the other members, for every
target of valid. The gate and the trees are fitted on one half of the users and read on the other, users halved in three
ways. Printed for each N:

- HR@10 and NDCG@10, and what NDCG@10 gains over N = 0, with a 95 % interval over users
- HR@10 and NDCG@10 of targets without a train event
- the log-likelihood of all targets by the weights alone, without trees, minus that for N = 0; and one standard error

Test is not read.

`--time` measures alone: milliseconds of processor time a user takes for the beams, and for the scores.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.fusion import Halving
from tsrec import pipeline
from tsrec.columns import LLM, Split
from tsrec.config import load_config
from tsrec.llm.trained_llm import trained_in
from tsrec.recommenders import FUSE
from tsrec.recommenders.candidates import concatenate_lists, repeats_filter
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import Fusion
from tsrec.recommenders.fusion_gate import Gate, with_target_in_pool
from tsrec.recommenders.llm import Llm, load_llm
from tsrec.recommenders.pool import SCORES, Pool
from tsrec.recommenders.ranking import Ranked
from tsrec.recommenders.scored_proposals import score_lists
from tsrec.recommenders.stage_settings import BeamSettings, FuseSettings
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.store import Artifact, ArtifactStore

TEXTS, K, BLOCK, RESAMPLES = "text-similarity", 10, 256, 2_000


def scored(llm: Llm, lists: dict[str, Ranked], pasts: list[np.ndarray], n: int) -> Ranked:
    """The scores of all targets, block by block."""
    blocks = [np.arange(start, min(start + BLOCK, len(pasts))) for start in range(0, len(pasts), BLOCK)]
    found = []
    for rows in blocks:
        own = {name: ranked.take(rows) for name, ranked in lists.items()}
        found.append(score_lists(llm, [pasts[row] for row in rows], own, n))
    return concatenate_lists(found)


def gains(items: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(T, 2): whether each target is in its list of 10, and its gain by place."""
    hit = items == right[:, None]
    return np.stack([hit.any(axis=1), (hit / np.log2(np.arange(2, K + 2))).sum(axis=1)], axis=1)


def crossed(fusion: Fusion, lists: dict[str, Ranked], targets: Targets, ways: int) -> np.ndarray:
    """(T, 3) for every target by the fusion that was fitted on the other half, means over ways to halve: its `gains`,
    and its log-probability within the pool by the weights alone, NaN where nobody proposes it."""
    found = np.zeros((len(targets.events), 3))
    for way in range(ways):
        halving = Halving.split_users(fusion, lists, targets, way, len(targets.events))
        for half in (0, 1):
            other, right = 1 - half, halving.right[half]
            known = with_target_in_pool(halving.pools[half], right)
            gate = halving.gate.fitted([known], [right])
            likelihood = log_probabilities(gate, halving.pools[other], halving.right[other])
            top = gate.top_pool(known, right)
            gate = gate.fitted([top], [right])
            if fusion.config.own.trees:
                gate = gate.with_trees(top, right, halving.inner[half], fusion.config.own.trees)
            ranked, _ = gate.rank(halving.pools[other], K)
            read = np.column_stack([gains(ranked.items, halving.right[other]), likelihood])
            found[halving.rows[other]] += read / ways
    return found


def log_probabilities(gate: Gate, pool: Pool, right: np.ndarray) -> np.ndarray:
    """(B,) the log-probability of each history's item within the pool; NaN where it is not in it."""
    ranked, _ = gate.rank(pool, int(np.bincount(pool.rows).max()))
    is_right = ranked.items == right[:, None]
    return np.where(is_right.any(axis=1), np.where(is_right, ranked.scores, 0).sum(axis=1), np.nan)


def interval(differences: np.ndarray, users: np.ndarray) -> str:
    """Their mean, and 95 % of the means of users drawn again and again."""
    _, user = np.unique(users, return_inverse=True)
    totals, counts = np.bincount(user, differences), np.bincount(user)
    drawn = np.random.default_rng(1).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=RESAMPLES)
    low, high = np.percentile(drawn @ totals / (drawn @ counts), [2.5, 97.5])
    return f"{differences.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def show_times(llm: Llm, lists: dict[str, Ranked], targets: Targets, fusion: Fusion, sizes: Sequence[int]) -> None:
    rows = np.random.default_rng(0).permutation(len(targets.events))[:BLOCK]
    own, pasts = {name: ranked.take(rows) for name, ranked in lists.items()}, targets.pasts(rows)
    allow = repeats_filter(pasts, fusion.catalogue.n_items, fusion.config.rules)
    began = time.process_time()
    llm.rank(pasts, fusion.config.rules.n_candidates, allow)
    print(f"{llm.config.beams} beams: {1000 * (time.process_time() - began) / len(rows):.1f} ms a user", flush=True)
    for n in sizes:
        began = time.process_time()
        score_lists(llm, pasts, own, n)
        print(f"{n} proposals: {1000 * (time.process_time() - began) / len(rows):.1f} ms a user", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--scores", type=int, nargs="+", default=[100, 200], help="proposals that the LLM scores")
    parser.add_argument("--ways", type=int, default=3, help="ways to part the users in two")
    parser.add_argument("--time", action="store_true")
    arguments = parser.parse_args()
    config = load_config(arguments.profile, [*arguments.set, "fuse.llm_scores=0"])
    store, planned = ArtifactStore(config.store), pipeline.plan(config, goal=FUSE)
    parents = planned.pop(FUSE.name).parents
    built: dict[str, Artifact] = {}
    for name, stage in planned.items():
        built[name] = pipeline.build(stage, store, built)
    catalogue, histories = read_catalogue(built["ingest"])
    settings = FUSE.config(config)
    assert isinstance(settings, FuseSettings)
    all_targets = select_targets(histories, config.recommend)
    fusion = Fusion.read({role: built[name] for role, name in parents.items()}, all_targets, catalogue, settings)
    valid = np.flatnonzero(all_targets.is_in_split(Split.VALID))
    targets, lists = all_targets.take(valid), fusion.stored.read(valid)
    trained = built[trained_in(planned["decode"].parents)]
    llm = load_llm(trained, built["sids"], catalogue, BeamSettings.from_run_config(config))
    if arguments.time:
        show_times(llm, lists, targets, fusion, arguments.scores)
        return
    is_cold = catalogue.train_counts[targets.items] == 0
    print(f"{config.dataset}: {len(valid)} targets of valid, {is_cold.sum()} of them cold")

    def show(name: str, found: np.ndarray, base: np.ndarray) -> None:
        line = f"{name:22s} {found[:, 0].mean():.4f} / {found[:, 1].mean():.4f}"
        line += f"   {interval(found[:, 1] - base[:, 1], targets.users)}"
        if is_cold.any():
            line += f"   {found[is_cold, 0].mean():.4f} / {found[is_cold, 1].mean():.4f}"
        if found.shape[1] == base.shape[1]:
            more = found[:, 2] - base[:, 2]
            more = more[np.isfinite(more)]
            line += f"   {more.sum():+.1f} ± {more.std() * np.sqrt(len(more)):.1f} nats"
        print(line, flush=True)

    base = crossed(fusion, lists, targets, arguments.ways)
    show("0", base, base)
    show(
        f"without {LLM}",
        crossed(fusion, {n: own for n, own in lists.items() if n != LLM}, targets, arguments.ways),
        base,
    )
    if TEXTS in lists:
        show(f"{TEXTS} alone", gains(lists[TEXTS].items[:, :K], targets.items), base)
    for n in arguments.scores:
        with_scores = lists | {SCORES: scored(llm, lists, targets.pasts(), n)}
        show(str(n), crossed(fusion, with_scores, targets, arguments.ways), base)


if __name__ == "__main__":
    main()
