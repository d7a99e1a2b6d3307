"""Ways to fuse the members' lists, side by side on valid: each fitted on one half of the users and read on the other.

    python benchmarks/fusion.py configs/industrial.yaml --set ingest.path=FOLDER

Builds what `fuse` needs where it is missing. Compared: reciprocal ranks; the mean of the members' softmaxes, and the
log-sum-exp of their scores, each with a weight and a temperature a member, fitted by likelihood from several starts;
the gate's weights alone (a conditional logit over features of the lists), the same fitted once more on its first 100 as
`fuse` does, and both with trees. HR@10 and NDCG@10 are means over both halves. `--quick` leaves out the mixtures, which
take minutes to fit; `--splits 4` parts the users in four ways, for one tells such small differences badly.

    python benchmarks/fusion.py configs/beauty.yaml --set ingest.path=FOLDER --without-llm --test

`--without-llm` trains and decodes no LLM: the fusion of the other members. `--test` measures the gate, every member and
the fusion without each on test instead, as `evaluate` does: to be read once.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tsrec import pipeline
from tsrec.columns import ALL, FUSED, Split
from tsrec.config import Config, load_config
from tsrec.evaluate.scoring import score
from tsrec.evaluate.summary import member_contributions, metrics_table
from tsrec.recommenders import CANDIDATES, FUSE
from tsrec.recommenders.catalogue import read_catalogue
from tsrec.recommenders.fuse_stage import Fusion, ablation_method
from tsrec.recommenders.fusion_gate import Gate, new_gate, with_target_in_pool
from tsrec.recommenders.gate_fitting import fit_gates, half_of_users
from tsrec.recommenders.pool import SCORES, Pool
from tsrec.recommenders.ranking import Ranked, top_k_lists
from tsrec.recommenders.stage_settings import FuseSettings
from tsrec.recommenders.targets import Targets, select_targets
from tsrec.store import Artifact, ArtifactStore

STARTS = 4


class Mixture:
    """log sum_m w_m exp(s_m / T_m), each member's scores normalized within its list first (mean) or not."""

    def __init__(self, n_members: int, *, normalized: bool) -> None:
        self.n_members, self.normalized = n_members, normalized

    def scores(self, theta: Tensor, values: Tensor, rows: Tensor, n_rows: int) -> Tensor:
        """(E,) of (E, M) scores over temperatures, -inf where a member does not list the item."""
        weights, heat = theta[: self.n_members], theta[self.n_members :].exp()
        parts = []
        for member in range(self.n_members):
            listed = torch.isfinite(values[:, member])
            scaled = torch.where(listed, values[:, member].nan_to_num(neginf=0.0) * heat[member], torch.tensor(-1e9))
            if self.normalized:
                scaled = scaled - log_totals(scaled, rows, n_rows)[rows]
            parts.append(weights[member] + scaled)
        return torch.logsumexp(torch.stack(parts, dim=1), dim=1)

    def fitted(self, values: Tensor, rows: Tensor, n_rows: int, right: Tensor) -> Tensor:
        """The best of several starts."""
        found = []
        for start in range(STARTS):
            torch.manual_seed(start)
            theta = (torch.randn(2 * self.n_members, dtype=torch.float64) * 0.5 * (start > 0)).requires_grad_(True)
            optimizer = torch.optim.LBFGS([theta], max_iter=80, line_search_fn="strong_wolfe")

            def loss(theta: Tensor = theta) -> Tensor:
                scores = self.scores(theta, values, rows, n_rows)
                return (log_totals(scores, rows, n_rows)[rows[right]] - scores[right]).mean() + 1e-4 * (theta**2).sum()

            def closure(theta: Tensor = theta, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
                optimizer.zero_grad()
                value = loss(theta)
                value.backward()
                return value

            optimizer.step(closure)
            found.append((float(loss(theta).detach()), theta.detach()))
        return min(found, key=lambda pair: pair[0])[1]


def log_totals(scores: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    largest = torch.full((n_rows,), -1e30, dtype=scores.dtype).scatter_reduce(0, rows, scores.detach(), "amax")
    total = torch.zeros(n_rows, dtype=scores.dtype).index_add(0, rows, (scores - largest[rows]).exp())
    return largest + (total + 1e-30).log()


def values_of(pool: Pool, lists: dict[str, Ranked], temperatures: dict[str, float]) -> Tensor:
    """(E, M) scores over temperatures, -inf where a member does not list the item."""
    values = torch.full(pool.ranks.shape, -torch.inf, dtype=torch.float64)
    for member, (name, ranked) in enumerate(lists.items()):
        listed = pool.ranks[:, member] > 0
        scores = ranked.scores[pool.rows[listed], pool.ranks[listed, member] - 1]
        values[torch.from_numpy(listed), member] = torch.from_numpy(scores.astype(np.float64)) / temperatures[name]
    return values


def by_scores(scores: np.ndarray, pool: Pool) -> np.ndarray:
    """(B, 10) items of each history, best first."""
    order = np.lexsort((pool.items, -scores, pool.rows))
    return top_k_lists(pool.rows[order], pool.items[order], scores[order], pool.n_rows, 10).items


def read(items: np.ndarray, right: np.ndarray) -> np.ndarray:
    """HR@10 and NDCG@10 of (B, 10) lists."""
    hit = items == right[:, None]
    gain = hit / np.log2(np.arange(2, 12))
    return np.array([hit.any(axis=1).mean(), gain.sum(axis=1).mean()])


@dataclass(frozen=True)
class Halving:
    """One way to part the users in two: of each half the targets' `rows`, `pools`, the `right` items, and `inner`:
    those that are of one half of it; `gate` is not fitted."""

    rows: list[np.ndarray]
    pools: list[Pool]
    right: list[np.ndarray]
    inner: list[np.ndarray]
    gate: Gate

    @classmethod
    def split_users(
        cls, fusion: Fusion, lists: dict[str, Ranked], targets: Targets, split: int, most: int
    ) -> "Halving":
        """Of the `lists` of the valid `targets`."""
        first = np.random.default_rng(split).random(targets.histories.n_users)[targets.users] < 0.5
        rows = [np.flatnonzero(first)[:most], np.flatnonzero(~first)[:most]]
        gate, inner = new_gate(lists, fusion.config.rules.n_candidates), half_of_users(targets, 2)
        pools = [
            gate.pool({name: own.take(half) for name, own in lists.items()}, targets.pasts(half), fusion.popularity)
            for half in rows
        ]
        return cls(rows, pools, [targets.items[half] for half in rows], [inner[half] for half in rows], gate)


def measure_on_test(fusion: Fusion, config: Config) -> None:
    """The table of `evaluate` for these members: metrics, and how much the fusion is ahead of each, paired."""
    targets, k = fusion.stored.targets, max(config.evaluate.k)
    rows, members = np.flatnonzero(targets.is_in_split(Split.TEST)), tuple(fusion.stored.sources)
    fitted = fit_gates(fusion.stored, fusion.popularity, fusion.config, {name: [name] for name in members})
    gates = {FUSED: fitted.whole, **{ablation_method(name): gate for name, gate in fitted.without.items()}}
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*members, *gates)}
    for block, lists in fusion.stored.blocks(rows):
        fused, _ = fusion.rank(gates, lists, targets.take(block))
        for name, ranked in (lists | fused).items():
            found[name].append(ranked.items[:, :k])
    test = targets.take(rows)
    metrics, differences = score(
        {name: np.concatenate(blocks) for name, blocks in found.items()},
        test.items,
        test.users,
        {ALL: np.ones(len(rows), dtype=bool)},
        fusion.catalogue.n_items,
        config.evaluate,
        against=(FUSED,),
    )
    print(metrics_table(metrics, differences).to_string())
    print(member_contributions(differences).round(4).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--without", nargs="*", default=[], help="members to leave out")
    parser.add_argument("--without-llm", action="store_true")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--most", type=int, default=3000, help="most targets of each half")
    parser.add_argument("--splits", type=int, default=1, help="ways to part the users in two; figures are their means")
    arguments = parser.parse_args()
    config = load_config(arguments.profile, arguments.set)
    store, planned = ArtifactStore(config.store), pipeline.plan(config, goal=FUSE)
    parents = planned.pop(FUSE.name).parents
    if arguments.without_llm:  # nor what only an LLM is made from
        planned = pipeline.plan(config, goal=CANDIDATES)
    built: dict[str, Artifact] = {}
    for name, stage in planned.items():
        built[name] = pipeline.build(stage, store, built)
    fused = {role: built[name] for role, name in parents.items() if name in built}
    catalogue, histories = read_catalogue(fused["ingest"])
    settings = FUSE.config(config)
    assert isinstance(settings, FuseSettings)
    fusion = Fusion.read(fused, select_targets(histories, config.recommend), catalogue, settings)
    gone = (SCORES, *arguments.without)  # of the LLM's scores see benchmarks/llm_scores.py
    sources = {name: source for name, source in fusion.stored.sources.items() if name not in gone}
    fusion = replace(fusion, stored=replace(fusion.stored, sources=sources))
    if arguments.test:
        measure_on_test(fusion, config)
        return
    members, valid = tuple(sources), np.flatnonzero(fusion.stored.targets.is_in_split(Split.VALID))
    targets, valid_lists = fusion.stored.targets.take(valid), fusion.stored.read(valid)
    halvings = [
        Halving.split_users(fusion, valid_lists, targets, split, arguments.most) for split in range(arguments.splits)
    ]
    sizes = " and ".join(str(len(right)) for right in halvings[0].right)
    print(f"{config.dataset}: {', '.join(members)}; {sizes} targets, halved in {arguments.splits} ways")

    def compare(name: str, fit: Callable[[Halving, int], Callable[[int], np.ndarray]]) -> None:
        """`fit` a way on one half; what it returns gives the lists of the other."""
        began, found = time.monotonic(), []
        for halving in halvings:
            found += [read(fit(halving, 1 - half)(half), halving.right[half]) for half in (0, 1)]
        hr, ndcg = np.mean(found, axis=0)
        print(f"{name:42s} {hr:.4f} / {ndcg:.4f}   {time.monotonic() - began:5.0f} s", flush=True)

    for c in (1, 10, 60):

        def by_rank(halving: Halving, _: int, c: int = c) -> Callable[[int], np.ndarray]:
            def lists(half: int) -> np.ndarray:
                pool = halving.pools[half]
                return by_scores(np.where(pool.ranks, 1 / (c + pool.ranks), 0.0).sum(axis=1), pool)

            return lists

        compare(f"reciprocal rank, 1 / ({c} + rank)", by_rank)

    def prepared(halving: Halving, half: int) -> tuple[Tensor, Tensor, int]:
        pool, lists = halving.pools[half], {n: own.take(halving.rows[half]) for n, own in valid_lists.items()}
        values = values_of(pool, lists, halving.gate.temperatures)
        return values, torch.from_numpy(pool.rows), pool.n_rows

    for normalized in () if arguments.quick else (True, False):
        mixture = Mixture(len(members), normalized=normalized)

        def by_mixture(halving: Halving, half: int, mixture: Mixture = mixture) -> Callable[[int], np.ndarray]:
            pool = halving.pools[half]
            right = np.flatnonzero(pool.items == halving.right[half][pool.rows])
            theta = mixture.fitted(*prepared(halving, half), torch.from_numpy(right))
            return lambda other: by_scores(
                mixture.scores(theta, *prepared(halving, other)).numpy(), halving.pools[other]
            )

        compare("mean of softmaxes" if normalized else "log-sum-exp of scores", by_mixture)

    ways = [("gate", False, 0), ("gate, fitted again on its first 100", True, 0)]
    if config.fuse.trees:
        ways += [("gate and trees", False, config.fuse.trees), ("gate, again, and trees", True, config.fuse.trees)]
    for name, again, trees in ways:

        def by_gate(
            halving: Halving, half: int, again: bool = again, trees: int = trees
        ) -> Callable[[int], np.ndarray]:
            right = halving.right[half]
            known = with_target_in_pool(halving.pools[half], right)
            fitted = halving.gate.fitted([known], [right])
            top = fitted.top_pool(known, right)
            if again:
                fitted = fitted.fitted([top], [right])
            if trees:
                fitted = fitted.with_trees(top, right, halving.inner[half], trees)
            return lambda other: fitted.rank(halving.pools[other], 10)[0].items

        compare(name, by_gate)


if __name__ == "__main__":
    main()
