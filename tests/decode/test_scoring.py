"""Scores of given SIDs equal one forward pass for each SID, and those of the beams that find them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decode.reference import N_TEXT, random_model, sid_score
from tsrec.decode.beam import BeamSearch
from tsrec.decode.scoring import score_sids
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel
from tsrec.errors import ConfigError
from tsrec.sid.space import SidSpace


def _prompts(space: SidSpace, seed: int, n_users: int) -> list[np.ndarray]:
    """Prompts of unequal lengths."""
    random = np.random.default_rng(seed)
    return [random.integers(0, N_TEXT + space.n_tokens, random.integers(1, 12)) for _ in range(n_users)]


def _sids(space: SidSpace, seed: int, lengths: list[int]) -> list[np.ndarray]:
    """As many SIDs as each of `lengths` says; some repeat, many begin alike."""
    random = np.random.default_rng(seed)
    return [np.stack([random.integers(0, size, n) for size in space.sizes], axis=1) for n in lengths]


@pytest.mark.parametrize("max_tokens", [1, 60, 10_000])
@pytest.mark.parametrize("sizes", [(4, 5, 6), (7, 9), (3, 3, 3, 4), (11,)])
def test_scores_are_those_of_one_pass_for_each_sid(sizes: tuple[int, ...], max_tokens: int) -> None:
    space = SidSpace(sizes)
    model, lengths = random_model(space, 1), [9, 0, 1, 30, 4]
    prompts, sids = _prompts(space, 1, len(lengths)), _sids(space, 1, lengths)
    expected = [
        [sid_score(model, prompt, sid, space) for sid in of_one] for prompt, of_one in zip(prompts, sids, strict=True)
    ]
    found = score_sids(ExportedModel(model, space, N_TEXT), prompts, sids, max_tokens)
    for own, right, of_one in zip(found, expected, sids, strict=True):
        assert own.shape == of_one.shape and own.dtype == np.float32
        np.testing.assert_allclose(own.sum(axis=1), right, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sid_that_beams_find_has_the_score_of_its_beam(dtype: torch.dtype) -> None:
    space = SidSpace((8, 12, 16))
    codes = _sids(space, 2, [400])[0]
    trie, prompts = Trie.build(codes), _prompts(space, 2, 6)
    model: Any = random_model(space, 2)
    writer = ExportedModel(model.to(dtype), space, N_TEXT)
    beams = BeamSearch(writer, trie).search(prompts, n_beams=25)
    sids = [np.array([codes[trie.items_of(int(leaf))[0]] for leaf in leaves]) for leaves in beams.leaves]
    for own, scores in zip(score_sids(writer, prompts, sids, 400), beams.scores, strict=True):
        differences = np.abs(own.sum(axis=1) - scores)
        assert differences.max() < 1e-4 if dtype == torch.float32 else differences.mean() < 0.1


class _Recording(ExportedModel):
    """Notes how many tokens each call computes."""

    def hidden(self, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        self.calls.append(tuple(ids.shape))
        return super().hidden(ids, *rest)

    calls: list[tuple[int, ...]]


def test_what_begins_alike_is_read_once_and_batches_keep_to_their_tokens() -> None:
    space = SidSpace((4, 5, 6))
    model, lengths = _Recording(random_model(space, 0), space, N_TEXT), [40, 3, 0, 17, 25, 8]
    prompts, sids = _prompts(space, 0, 6), _sids(space, 0, lengths)
    n_tokens = [
        len(prompt) + sum(len(np.unique(of_one[:, :depth], axis=0)) for depth in (1, 2))
        for prompt, of_one in zip(prompts, sids, strict=True)
        if len(of_one)
    ]
    model.calls = []
    score_sids(model, prompts, sids, 1)
    assert sorted(width for _, width in model.calls) == sorted(n_tokens)
    assert {n_users for n_users, _ in model.calls} == {1}
    model.calls = []
    score_sids(model, prompts, sids, 100)
    assert 1 < len(model.calls) < 5 and sum(n_users for n_users, _ in model.calls) == 5
    assert all(n_users * width <= 100 for n_users, width in model.calls)


_SPACE = SidSpace((3, 4, 5))
_MODEL = ExportedModel(random_model(_SPACE, 7, hidden=16, n_layers=1), _SPACE, N_TEXT)
_SID = st.tuples(*(st.integers(0, size - 1) for size in _SPACE.sizes))


@settings(max_examples=60)
@given(st.lists(st.lists(_SID, max_size=12), min_size=1, max_size=4), st.integers(1, 200), st.randoms())
def test_company_order_and_repeats_change_no_score(
    asked: list[list[tuple[int, ...]]], max_tokens: int, random: Any
) -> None:
    prompts = _prompts(_SPACE, 0, len(asked))
    sids = [np.array(of_one, dtype=np.int64).reshape(-1, 3) for of_one in asked]
    found = score_sids(_MODEL, prompts, sids, max_tokens)
    for prompt, of_one, own in zip(prompts, sids, found, strict=True):
        order = [random.randrange(len(of_one)) for _ in range(2 * len(of_one))]  # any order, some twice, some not
        again = score_sids(_MODEL, [prompt], [of_one[order]], 1)[0]
        np.testing.assert_allclose(again, own[order], atol=1e-5)
        assert (own <= 0).all()


def test_nothing_asked_is_nothing_scored() -> None:
    none = np.empty((0, 3), dtype=np.int64)
    assert score_sids(_MODEL, [], [], 10) == []
    assert [own.shape for own in score_sids(_MODEL, _prompts(_SPACE, 0, 2), [none, none], 10)] == [(0, 3)] * 2


def test_a_prompt_longer_than_the_model_sees_is_an_error() -> None:
    model = random_model(_SPACE, 0)
    model.config.max_position_embeddings = 12
    writer, sid = ExportedModel(model, _SPACE, N_TEXT), np.zeros((1, 3), dtype=np.int64)
    score_sids(writer, [np.arange(10)], [sid], 100)  # and two tokens of a SID
    with pytest.raises(ConfigError, match=r"a prompt of 11 tokens .* lower decode\.max_history"):
        score_sids(writer, [np.arange(11)], [sid], 100)
