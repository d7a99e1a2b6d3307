"""Histories that vary: what is shown changes, what is to be predicted stays true, and nothing is learned twice."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.finetune.stage_run import N_ITEMS, config, parents
from tests.finetune.test_sequences import BOS, N_LEVELS, TOKENS, histories_of, learned_by
from tsrec.columns import Split
from tsrec.config import AugmentConfig, Config, FinetuneConfig, canonical
from tsrec.finetune import STAGE
from tsrec.finetune.neighbours import NO_ITEM, nearest_texts, read_neighbours
from tsrec.finetune.sequences import HistoryExamples
from tsrec.finetune.varying import VaryingHistories
from tsrec.store import ArtifactStore

lengths = st.lists(st.integers(1, 12), min_size=1, max_size=3)
windows = st.integers(2, 8).flatmap(lambda items: st.tuples(st.just(items), st.integers(0, items - 1)))


def _plain(lengths: list[int], window: tuple[int, int]) -> HistoryExamples:
    histories = histories_of([[Split.TRAIN] * length for length in lengths])
    return HistoryExamples(histories, TOKENS, Split.TRAIN, *window, task=0)


def _items(path: list[int]) -> list[int]:
    """The items that a position sees, whole ones."""
    tokens = path[1 : 1 + (len(path) - 1) // N_LEVELS * N_LEVELS]
    return [(token - 1000) // N_LEVELS for token in tokens[::N_LEVELS]]


@settings(deadline=None)
@given(lengths, windows, st.integers(0, 20), st.floats(0, 1))
def test_swapped_histories_ask_for_the_same_targets(
    lengths: list[int], window: tuple[int, int], place: int, replace: float
) -> None:
    plain = _plain(lengths, window)
    near = np.stack([np.arange(60) + 1, np.full(60, NO_ITEM)], axis=1) % 60  # item n is shown as n + 1
    near[:, 1] = NO_ITEM
    varying = VaryingHistories(plain, seed=1, neighbours=near, replace=replace)
    for row in range(len(plain)):
        true, swapped = learned_by(plain[row]), learned_by(varying.varied(row, place))
        assert sorted(label for _, label in swapped) == sorted(label for _, label in true)
        by_label = dict(zip([label for _, label in true], [path for path, _ in true], strict=True))
        for path, label in swapped:
            wanted = by_label[label]
            assert len(path) == len(wanted)
            beside = len(_items(path)) * N_LEVELS + 1
            assert path[beside:] == wanted[beside:]  # its own tokens before
            pairs = zip(_items(path), _items(wanted), strict=True)
            assert all(shown in (item, (item + 1) % 60) for shown, item in pairs)


@settings(deadline=None)
@given(lengths, windows, st.integers(0, 20))
def test_a_cropped_window_is_the_end_of_the_whole_one(lengths: list[int], window: tuple[int, int], place: int) -> None:
    plain = _plain(lengths, window)
    for row in range(len(plain)):
        whole, example = plain[row], VaryingHistories(plain, seed=2, crop=1).varied(row, place)
        n_more = len(whole.input_ids) - len(example.input_ids)
        assert n_more % N_LEVELS == 0
        assert example.input_ids[0] == BOS
        np.testing.assert_array_equal(example.input_ids[1:], whole.input_ids[1 + n_more :])
        if n_more:
            assert (example.labels[:N_LEVELS] < 0).all()  # an item with nothing before it is not learned
            np.testing.assert_array_equal(example.labels[N_LEVELS:], whole.labels[N_LEVELS + n_more :])
        assert (example.labels[-N_LEVELS:] >= 0).all()


def test_windows_begin_everywhere_but_at_their_last_target() -> None:
    varying = VaryingHistories(_plain([6], (8, 3)), seed=3, crop=1)
    sizes = {len(varying.varied(0, place).input_ids) // N_LEVELS for place in range(100)}
    assert sizes == {2, 3, 4, 5, 6}
    half = VaryingHistories(_plain([6], (8, 3)), seed=3, crop=0.5)
    n_whole = sum(len(half.varied(0, place).input_ids) == 6 * N_LEVELS for place in range(400))
    assert n_whole == pytest.approx(400 * (0.5 + 0.5 / 5), abs=40)


def test_neighbours_are_the_nearest_first(tiny_backbone: Path, tmp_path: Path) -> None:
    before = parents(ArtifactStore(tmp_path), tiny_backbone)
    by_users = read_neighbours(before, AugmentConfig(replace=0.1, neighbours=3))
    assert by_users[0].tolist() == [NO_ITEM] * 3
    assert by_users[4].tolist() == [5, 6, NO_ITEM]
    assert read_neighbours(before, AugmentConfig(replace=0.1, neighbours=1))[4].tolist() == [5]
    by_texts = read_neighbours(before, AugmentConfig(replace=0.1, neighbours_by="texts", neighbours=40))
    assert by_texts.shape == (N_ITEMS, N_ITEMS - 1)


def test_nearest_texts_against_all_cosines() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(25, 6)) * random.uniform(0.1, 9, (25, 1))
    vectors[7] = vectors[3] * 2  # the same direction
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    found = nearest_texts(vectors, 4)
    for item in range(25):
        others = np.delete(cosines[item], item)
        assert item not in found[item]
        np.testing.assert_allclose(cosines[item][found[item]], np.sort(others)[::-1][:4], atol=1e-5)
    alike = nearest_texts(np.ones((9, 3)), 2)
    assert alike.shape == (9, 2) and not (alike == np.arange(9)[:, None]).any()


def test_what_is_off_needs_nothing() -> None:
    plain = Config()
    assert STAGE.parents(plain) == STAGE.parents(Config(finetune={"augment": {"crop": 0.5}}))
    assert "item-knn" in STAGE.parents(Config(finetune={"augment": {"replace": 0.5}}))
    assert "embed" in STAGE.parents(Config(finetune={"augment": {"replace": 0.5, "neighbours_by": "texts"}}))
    assert canonical(Config(finetune={"augment": {"neighbours": 3}})) == canonical(plain)
    with pytest.raises(ValueError, match=r"augment\.crop = 0\.5 .* tasks\.history = 0"):
        FinetuneConfig(augment={"crop": 0.5}, tasks={"history": 0, "title_to_sid": 1})
    assert config().augment == AugmentConfig()
