"""The statistics against a slow, plain reference: users with several targets, seeds that did not all finish."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsrec.ablation.ablation_plan import AblationPlan, AblationRun
from tsrec.ablation.markdown import _difference
from tsrec.ablation.run_metrics import RunMetrics
from tsrec.ablation.statistics import comparison_table, worth_table
from tsrec.config import Ablation, Config, with_overrides
from tsrec.config.ablation import AblationVariant
from tsrec.evaluate.intervals import MIN_USERS, N_SAMPLES, SEED

CONFIG = with_overrides(Config(), ["evaluate.k=[10]"])
NAMES = [("hr", 10), ("ndcg", 10)]


def _compared(finished: dict[str, dict[int, np.ndarray]], users: np.ndarray) -> pd.DataFrame:
    """The table of (T, 2) figures by variant and seed; the first variant is the reference."""
    ablation = Ablation(
        variants=tuple(AblationVariant(name=name) for name in finished), reference=next(iter(finished)), seeds=(1, 2, 3)
    )
    measured = {
        AblationRun(variant, seed, CONFIG, {}): RunMetrics(users, NAMES, {"tsrec": values}, pd.DataFrame(), 1.0, "", 3)
        for variant, by_seed in finished.items()
        for seed, values in by_seed.items()
    }
    plan = AblationPlan(ablation, {CONFIG.dataset: CONFIG}, {}, tuple(measured))
    return comparison_table(plan, measured).set_index(["variant", "metric"])


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1), st.integers(MIN_USERS, 20), st.integers(1, 4))
def test_differences_are_those_of_a_plain_bootstrap_over_users(seed: int, n_users: int, most: int) -> None:
    random = np.random.default_rng(seed)
    users = np.repeat(np.arange(n_users) * 3, random.integers(1, most + 1, n_users))
    figures = lambda: random.random((len(users), 2)).round(2)  # noqa: E731
    full, other = {1: figures(), 3: figures()}, {1: figures(), 2: figures(), 3: figures()}
    table = _compared({"full": full, "other": other}, users)
    for column, (metric, _) in enumerate(NAMES):
        row = table.loc["other", metric]
        by_seed = [values[:, column].mean() for values in other.values()]
        assert row["mean"] == pytest.approx(np.mean(by_seed))
        assert row["std"] == pytest.approx(np.std(by_seed, ddof=1))
        assert (row["n_seeds"], row["n_paired_seeds"], row["n_users"], row["n"]) == (3, 2, n_users, len(users))
        # Pooled: the rows of the seeds that both have, one under the other; a drawn user brings all of them.
        pooled = np.concatenate([(other[seed] - full[seed])[:, column] for seed in (1, 3)])
        owners, names = np.concatenate([users, users]), np.unique(users)
        draws = np.random.default_rng(SEED)
        resampled = []
        for _ in range(N_SAMPLES):
            drawn = names[draws.integers(0, n_users, n_users)]
            resampled.append(np.concatenate([pooled[owners == user] for user in drawn]).mean())
        assert row["difference"] == pytest.approx(pooled.mean(), abs=1e-12)
        assert row["ci_low"] == pytest.approx(np.quantile(resampled, 0.025), abs=1e-12)
        assert row["ci_high"] == pytest.approx(np.quantile(resampled, 0.975), abs=1e-12)


def test_more_seeds_do_not_stand_for_more_users() -> None:
    """The same figures three times over: the interval is that of one seed, not narrower."""
    random = np.random.default_rng(1)
    users = np.arange(200)
    full, other = random.random((200, 2)), random.random((200, 2))
    once = _compared({"full": {1: full}, "other": {1: other}}, users)
    thrice = _compared({"full": dict.fromkeys((1, 2, 3), full), "other": dict.fromkeys((1, 2, 3), other)}, users)
    for bound in ("ci_low", "ci_high", "p"):
        assert thrice.loc["other"][bound].to_numpy() == pytest.approx(once.loc["other"][bound].to_numpy())
    assert thrice.loc["other", "ndcg"]["std"] == 0 and np.isnan(once.loc["other", "ndcg"]["std"])


def test_without_a_common_seed_there_is_no_difference() -> None:
    values, users = np.ones((3, 2)), np.arange(3)
    table = _compared({"full": {1: values}, "other": {2: values}}, users)
    assert table["difference"].isna().all() and table["n_paired_seeds"].isna().all()
    assert (table["mean"] == 1).all()


def test_what_the_llm_adds_averages_seeds_and_leaves_out_what_was_not_measured() -> None:
    random = np.random.default_rng(2)
    users = np.repeat(np.arange(30), 2)
    figures = {seed: (random.random((60, 2)), random.random((60, 2))) for seed in (1, 2)}
    measured = {
        AblationRun("full", seed, CONFIG, {}): RunMetrics(
            users, NAMES, {"tsrec": fused, "fused": fused}, pd.DataFrame(), 1.0, "", 3, without
        )
        for seed, (fused, without) in figures.items()
    }
    valid = RunMetrics(users, NAMES, {"tsrec": figures[1][0], "fused": figures[1][0]}, pd.DataFrame(), 1.0, "", 3)
    measured[AblationRun("on valid", 1, CONFIG, {})] = valid
    names = tuple(AblationVariant(name=name) for name in ("full", "on valid"))
    plan = AblationPlan(
        Ablation(variants=names, reference="full", seeds=(1, 2)), {CONFIG.dataset: CONFIG}, {}, tuple(measured)
    )
    table = worth_table(plan, measured)
    assert list(table["variant"]) == ["full", "full"] and list(table["n_paired_seeds"]) == [2, 2]
    # The same as a variant (the fusion) against a reference (the one without), both with these seeds.
    same = _compared(
        {"without": {seed: two[1] for seed, two in figures.items()}, "with": {s: t[0] for s, t in figures.items()}},
        users,
    ).loc["with"]
    for column in ("difference", "relative", "ci_low", "ci_high", "p"):
        assert table[column].to_numpy() == pytest.approx(same[column].to_numpy())
    assert table["mean"].to_numpy() == pytest.approx(np.mean([t[1].mean(axis=0) for t in figures.values()], axis=0))


@pytest.mark.parametrize(
    ("n_users", "read"), [(4, "+1.0000 (too few users to tell)"), (16, "+1.0000 [+1.0000, +1.0000], p < .01")]
)
def test_with_few_users_people_read_that_they_are_too_few(n_users: int, read: str) -> None:
    values, users = {"full": {1: np.zeros((32, 2))}, "other": {1: np.ones((32, 2))}}, np.arange(32) % n_users
    table = _compared(values, users)
    assert table.loc["other", ["ci_low", "ci_high", "p"]].isna().all(axis=None) == (n_users < MIN_USERS)
    plan = AblationPlan(Ablation(variants=(AblationVariant(name="full"),), reference="full", seeds=(1,)), {}, {}, ())
    assert _difference(table.loc["other", "ndcg"], table, plan) == read
