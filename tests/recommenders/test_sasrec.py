"""SASRec: learns what follows what, learns from every target once, and ends the same after a kill."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.recommenders.conftest import TextVectors, catalogue_of, fitted, histories_of, scores_of
from tsrec.columns import Split
from tsrec.config import SasRecConfig
from tsrec.histories import Histories
from tsrec.recommenders import sasrec
from tsrec.recommenders.member import FitInputs
from tsrec.training.packing import IGNORED

T, V, X, H = (split.value for split in (Split.TRAIN, Split.VALID, Split.TEST, Split.HISTORY))
N_ITEMS = 12
PARENTS: dict[str, Any] = {"embed": TextVectors(np.random.default_rng(1).normal(size=(N_ITEMS, 24)))}
CONFIG = SasRecConfig(hidden=32, epochs=30, window=6, learning_rate=2e-3, dropout=0.3)


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


def test_the_order_of_two_items_is_learned(ring: Histories) -> None:
    events = ring.target_events(Split.TEST)
    scores = scores_of(fitted("sasrec", ring, N_ITEMS, CONFIG, PARENTS), ring, events, N_ITEMS)
    assert scores.shape == (len(events), N_ITEMS)
    # Popularity and single transitions cannot tell the two directions apart: they hit half.
    assert (scores.argmax(1) == ring.items[events]).mean() > 0.95


def test_it_is_learned_from_a_sample_of_the_items_too(ring: Histories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sasrec, "_ALL_ITEMS_AT_MOST", N_ITEMS - 1)
    monkeypatch.setattr(sasrec, "_SAMPLED_ITEMS", 24)
    events = ring.target_events(Split.TEST)
    scores = scores_of(fitted("sasrec", ring, N_ITEMS, CONFIG, PARENTS), ring, events, N_ITEMS)
    assert (scores.argmax(1) == ring.items[events]).mean() > 0.95


def test_a_step_moves_only_the_vectors_that_it_reads() -> None:
    torch.manual_seed(1)
    model = sasrec.SasRec(N_ITEMS, CONFIG)
    model.sample(sasrec.ItemSampling(torch.tensor([0.5, 0.5] + [0.0] * (N_ITEMS - 2)), n_drawn=8))
    ids, labels = torch.tensor([[4, 5]]), torch.tensor([[IGNORED, 6]])
    outputs = model(ids, torch.arange(2)[None], torch.ones(1, 2), labels, torch.zeros(1, 2))
    outputs["loss"].backward()
    gradient = model.decoder.get_input_embeddings().get_parameter("weight").grad
    assert gradient is not None and gradient.is_sparse
    rows = gradient.coalesce().indices()[0].tolist()
    assert rows == [1, 2, 4, 5, 6], "the drawn items, the history's and the label"


def test_items_are_drawn_as_often_as_expected() -> None:
    torch.manual_seed(1)
    sampling = sasrec.ItemSampling.by_popularity(np.array([0, 6, 2, 0]), 10_000)
    tokens, log_expected = sampling.draw()
    expected = [1250, 5000, 2500, 1250]  # half of them by 0, 6, 2, 0 events, half uniform
    np.testing.assert_allclose(np.bincount(tokens, minlength=5), [0, *expected], rtol=0.1)
    np.testing.assert_allclose(log_expected.exp(), np.array(expected)[tokens - 1], rtol=1e-5)


def test_a_repeated_call_ends_with_the_same_bytes(ring: Histories, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 2})

    def weights(name: str) -> bytes:
        folder = tmp_path / name
        (folder / "work").mkdir(parents=True, exist_ok=True)
        sasrec.fit(FitInputs(ring, catalogue_of(ring, N_ITEMS), config, PARENTS, folder / "work", folder))
        return (folder / "sasrec.safetensors").read_bytes()

    assert weights("a") == weights("a") == weights("b")


@pytest.mark.parametrize(("n_items", "n_dimensions", "width"), [(40, 16, 8), (40, 8, 16), (3, 16, 8)])
def test_items_start_where_their_texts_are(n_items: int, n_dimensions: int, width: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(n_items, n_dimensions)) * np.geomspace(9, 0.1, n_dimensions)
    start = sasrec.principal_components(vectors, width, seed=1)
    assert start.shape == (n_items, width)
    np.testing.assert_allclose(start.std(), sasrec._START_DEVIATION, rtol=0.05)
    # Nothing is lost where the width suffices: inner products are those of the centred vectors, up to one factor.
    centred = vectors - vectors.mean(axis=0)
    strengths = np.linalg.svd(centred, compute_uv=False)
    left, _, right = np.linalg.svd(centred, full_matrices=False)
    kept = (left[:, :width] * strengths[:width]) @ right[:width]
    wanted, found = kept @ kept.T, start @ start.T
    np.testing.assert_allclose(found / np.abs(found).max(), wanted / np.abs(wanted).max(), atol=1e-5)


def test_texts_that_are_all_alike_start_at_zero() -> None:
    assert not sasrec.principal_components(np.ones((5, 4)), 8, seed=1).any()
    assert not sasrec.principal_components(np.ones((5, 4)), 8, seed=1, at_once=2).any()


@pytest.mark.parametrize("width", [3, 12])
def test_principal_components_in_blocks_have_the_same_inner_products(width: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32) * np.arange(1, 9, dtype=np.float32) + 3
    whole = sasrec.principal_components(vectors, width, seed=1)
    blocks = sasrec.principal_components(vectors, width, seed=1, at_once=7)
    assert blocks.dtype == np.float32 and blocks.shape == whole.shape
    np.testing.assert_allclose(blocks @ blocks.T, whole @ whole.T, atol=1e-5 * np.abs(whole @ whole.T).max())


def test_texts_say_what_few_events_cannot() -> None:
    """Items 2n and 2n + 1 read alike; who bought one buys the other, and no item is seen in more than two histories."""
    n_items = 400
    users = {f"u{pair:03d}": [(2 * pair, T), (2 * pair + 1, T if pair % 2 else V)] for pair in range(n_items // 2)}
    histories = histories_of(users, n_items)
    random = np.random.default_rng(1)
    telling = np.repeat(random.normal(size=(n_items // 2, 24)), 2, axis=0) + 0.05 * random.normal(size=(n_items, 24))
    events = histories.target_events(Split.VALID)
    shares = []
    for texts in (telling, random.permutation(telling)):
        config = CONFIG.model_copy(update={"epochs": 40})
        member = fitted("sasrec", histories, n_items, config, {"embed": TextVectors(texts)})
        scores = scores_of(member, histories, events, n_items)
        for row, event in enumerate(events):
            scores[row, histories.history_of(int(event))] = -np.inf
        top = np.argsort(-scores, axis=1)[:, :5]
        shares.append((top == histories.items[events][:, None]).any(axis=1).mean())
    assert shares[0] > shares[1] + 0.3


def test_scores_do_not_depend_on_the_batch(ring: Histories) -> None:
    member = fitted("sasrec", ring, N_ITEMS, CONFIG.model_copy(update={"epochs": 1}), PARENTS)
    events = np.concatenate([ring.target_events(Split.TRAIN)[:8], ring.target_events(Split.TEST)[:8]])
    alone = np.concatenate([scores_of(member, ring, event[None], N_ITEMS) for event in events])
    np.testing.assert_allclose(scores_of(member, ring, events, N_ITEMS), alone, atol=1e-5)


@pytest.mark.parametrize("window", [2, 3, 5, 50])
def test_every_train_target_is_learned_from_once_and_nothing_else(window: int) -> None:
    users = {
        "a": [(item, T) for item in range(11)] + [(11, V), (0, X)],
        "b": [(5, T)],
        "c": [(6, H), (7, V), (8, X)],
        "d": [(1, T), (2, T), (3, V), (4, V), (5, X)],
    }
    histories = histories_of(users, N_ITEMS)
    labels = []
    for example in sasrec._examples(histories, window):
        assert 1 <= len(example.input_ids) == len(example.labels) <= window
        labels += example.labels[example.labels != IGNORED].tolist()
    assert sorted(labels) == sorted((histories.items[histories.target_events(Split.TRAIN)] + 1).tolist())
