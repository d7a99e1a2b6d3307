"""SASRec: learns what follows what, learns from every target once, and ends the same after a kill."""

from pathlib import Path

import numpy as np
import pytest

from tests.baselines.conftest import histories_of
from tsrec.baselines import BASELINES, FitInputs
from tsrec.baselines.sasrec import _examples
from tsrec.columns import Split
from tsrec.config import BaselinesConfig
from tsrec.histories import Histories
from tsrec.training import IGNORED

T, V, X, H = (split.value for split in (Split.TRAIN, Split.VALID, Split.TEST, Split.HISTORY))
N_ITEMS = 12
CONFIG = BaselinesConfig(sasrec_hidden=32, sasrec_layers=2, sasrec_epochs=30, sasrec_window=6)


@pytest.fixture(scope="module")
def ring() -> Histories:
    """300 users who walk a ring of items forwards or backwards: the next item needs the last two."""
    users = {
        f"u{user:03d}": [
            ((user + (1 if user % 2 else -1) * step) % N_ITEMS, split) for step, split in enumerate([T] * 6 + [V, X])
        ]
        for user in range(300)
    }
    return histories_of(users, N_ITEMS)


def test_the_order_of_two_items_is_learned(ring: Histories, tmp_path: Path) -> None:
    score = BASELINES["sasrec"](FitInputs(ring, N_ITEMS, CONFIG, tmp_path))
    events = ring.target_events(Split.TEST)
    scores = score(events)
    assert scores.shape == (len(events), N_ITEMS)
    # Popularity and single transitions cannot tell the two directions apart: they hit half.
    assert (scores.argmax(1) == ring.items[events]).mean() > 0.95


def test_a_repeated_call_scores_the_same(ring: Histories, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"sasrec_epochs": 2})
    events = ring.target_events(Split.TEST)[:20]
    first = BASELINES["sasrec"](FitInputs(ring, N_ITEMS, config, tmp_path / "a"))(events)
    resumed = BASELINES["sasrec"](FitInputs(ring, N_ITEMS, config, tmp_path / "a"))(events)
    afresh = BASELINES["sasrec"](FitInputs(ring, N_ITEMS, config, tmp_path / "b"))(events)
    assert first.tolist() == resumed.tolist() == afresh.tolist()


def test_scores_do_not_depend_on_the_batch(ring: Histories, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"sasrec_epochs": 1})
    score = BASELINES["sasrec"](FitInputs(ring, N_ITEMS, config, tmp_path))
    events = np.concatenate([ring.target_events(Split.TRAIN)[:8], ring.target_events(Split.TEST)[:8]])
    alone = np.concatenate([score(event[None]) for event in events])
    np.testing.assert_allclose(score(events), alone, atol=1e-5)


@pytest.mark.parametrize("window", [2, 3, 5, 50])
@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALID])
def test_every_target_is_learned_from_once_and_nothing_else(window: int, split: Split) -> None:
    users = {
        "a": [(item, T) for item in range(11)] + [(11, V), (0, X)],
        "b": [(5, T)],
        "c": [(6, H), (7, V), (8, X)],
        "d": [(1, T), (2, T), (3, V), (4, V), (5, X)],
    }
    histories = histories_of(users, N_ITEMS)
    labels = []
    for example in _examples(histories, split, window):
        assert 1 <= len(example.input_ids) == len(example.labels) <= window
        labels += example.labels[example.labels != IGNORED].tolist()
    assert sorted(labels) == sorted((histories.items[histories.target_events(split)] + 1).tolist())
