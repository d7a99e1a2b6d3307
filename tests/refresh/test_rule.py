"""The promotion rule on comparisons written by hand: few users, and a better champion than the present one."""

from pathlib import Path

import numpy as np
import pytest

from tests.keys import key_of
from tsrec.columns import ALL
from tsrec.config import Config, with_overrides
from tsrec.evaluate.scoring import score
from tsrec.refresh.comparison import BEST, CHALLENGER, CHAMPION
from tsrec.refresh.rule import Verdict, judge
from tsrec.sids.health import codebook_health
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter

CONFIG = with_overrides(Config(), ["evaluate.k=[10]", "refresh.min_coverage=0"])


def _built(folder: Path, stage: str, **tables: object) -> Artifact:
    def write(out: ArtifactWriter) -> None:
        for name, table in tables.items():
            out.write_table(name, table)

    return ArtifactStore(folder).build(key_of(stage), write)


def _judged(folder: Path, hits: dict[str, float], users: np.ndarray, settings: list[str]) -> Verdict:
    """The verdict where each model has the target first in a share `hits` of the lists, of the same users."""
    config = with_overrides(CONFIG, settings)
    targets, place = np.arange(len(users)), np.random.default_rng(1).permutation(len(users))
    lists = {
        name: np.where(place < share * len(users), targets, len(users))[:, None] * np.ones((1, 10), np.int64)
        for name, share in hits.items()
    }
    everything = {ALL: np.ones(len(users), dtype=bool)}
    against = (CHAMPION, BEST)
    metrics, differences = score(lists, targets, users, everything, len(users) + 1, config.evaluate, against)
    comparison = _built(folder, "compare", metrics=metrics, differences=differences)
    codes = np.arange(256)[:, None]
    sids = _built(folder, "sids", codebook_health=codebook_health(codes, (256,), [1.0]), item_sids=metrics)
    return judge(comparison, sids, config)


@pytest.mark.parametrize("rule", ["unless-worse", "if-better"])
def test_few_users_tell_nothing_and_nothing_is_promoted(tmp_path: Path, rule: str) -> None:
    """200 targets, but of nine users only, and better in each of them."""
    users = np.arange(200) % 9
    verdict = _judged(tmp_path, {CHALLENGER: 1, CHAMPION: 0}, users, [f"refresh.promote={rule}"])
    assert not verdict.promotes
    assert "NDCG@10 +1.0000 (too few users to tell)" in verdict.why and "nothing is promoted" in verdict.why


def test_steps_down_that_are_each_small_are_refused_once_they_are_large_together(tmp_path: Path) -> None:
    """One hit less than the champion of 1,000 users is within chance; 31 less than the best are not."""
    users, settings = np.arange(1000), ["refresh.promote=unless-worse"]
    step = {CHALLENGER: 0.299, CHAMPION: 0.3}
    alone = _judged(tmp_path / "1", step, users, settings)
    assert alone.promotes and not alone.is_best
    near = _judged(tmp_path / "2", {**step, BEST: 0.3}, users, settings)
    assert near.promotes and not near.is_best
    far = _judged(tmp_path / "3", {**step, BEST: 0.33}, users, settings)
    assert not far.promotes and "but NDCG@10 -0.0310" in far.why
    assert "against the best champion since the last rebuild" in far.why
    assert _judged(tmp_path / "4", {**step, BEST: 0.33}, users, ["refresh.promote=never"]).why.endswith("is never")


def test_who_is_ahead_of_all_champions_is_the_best(tmp_path: Path) -> None:
    verdict = _judged(tmp_path, {CHALLENGER: 0.31, CHAMPION: 0.3, BEST: 0.305}, np.arange(1000), [])
    assert verdict.promotes and verdict.is_best
