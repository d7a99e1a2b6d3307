"""The decoder's top-10 equals plain, slow references, on random models."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.decode.reference import N_TEXT, enumerated, generated, random_model
from tsrec.decode.beam import BeamSearch, _stable_top_k
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel
from tsrec.errors import ConfigError
from tsrec.sid.space import SidSpace


def _prompts(space: SidSpace, seed: int, n_users: int = 6) -> list[np.ndarray]:
    """Prompts of unequal lengths."""
    random = np.random.default_rng(seed)
    return [random.integers(0, N_TEXT + space.n_tokens, random.integers(1, 12)) for _ in range(n_users)]


def _codes(space: SidSpace, n_items: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, n_items) for size in space.sizes], axis=1)


def _sids(trie: Trie, codes: np.ndarray, leaves: np.ndarray) -> np.ndarray:
    return np.array([codes[trie.items_of(int(leaf))[0]] for leaf in leaves])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(4, 5, 6), (7, 9), (3, 3, 3, 4)])
def test_wide_beams_equal_full_enumeration(seed: int, sizes: tuple[int, ...]) -> None:
    space = SidSpace(sizes)
    codes = _codes(space, 40, seed)  # some items share a SID
    trie, model, prompts = Trie.build(codes), random_model(space, seed), _prompts(space, seed)
    beams = BeamSearch(ExportedModel(model, space, N_TEXT), trie).search(prompts, n_beams=trie.n_leaves)
    for user, prompt in enumerate(prompts):
        expected, scores = enumerated(model, prompt, codes, space)
        np.testing.assert_array_equal(_sids(trie, codes, beams.leaves[user, :10]), expected[:10])
        np.testing.assert_allclose(beams.scores[user, :10], scores[:10], atol=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_beams_equal_generate_with_a_prefix_function(seed: int) -> None:
    space = SidSpace((16, 24, 32))
    codes = _codes(space, 600, seed)
    trie, model, prompts = Trie.build(codes), random_model(space, seed), _prompts(space, seed)
    beams = BeamSearch(ExportedModel(model, space, N_TEXT), trie).search(prompts, n_beams=20)
    for user, prompt in enumerate(prompts):
        sids, scores = generated(model, prompt[None], codes, space, n_beams=20, n_best=10)
        np.testing.assert_array_equal(_sids(trie, codes, beams.leaves[user, :10]), sids[0])
        np.testing.assert_allclose(beams.scores[user, :10], scores[0], atol=1e-4)


class _Recording(ExportedModel):
    """Notes how many tokens each call computes."""

    def hidden(self, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        self.calls.append(ids.shape)
        return super().hidden(ids, *rest)

    calls: list[tuple[int, ...]]


@pytest.mark.parametrize("max_tokens", [1, 30, 70, 10_000])
def test_batches_keep_to_their_tokens_and_give_what_single_prompts_give(max_tokens: int) -> None:
    space = SidSpace((4, 5, 6))
    trie, prompts = Trie.build(_codes(space, 40, 0)), _prompts(space, 0, 12)
    model = _Recording(random_model(space, 0), space, N_TEXT)
    search, model.calls = BeamSearch(model, trie), []
    together = search.search_in_batches(prompts, 5, max_tokens)
    first_passes = model.calls[::3]  # of each batch; two more follow, of at most 5 beams for each user
    assert sum(n_users for n_users, _ in first_passes) == 12
    assert all(n_users == 1 or n_users * (length + 2 * 5) <= max_tokens for n_users, length in first_passes)
    assert len(first_passes) == {1: 12, 10_000: 1}.get(max_tokens, len(first_passes))
    for user, prompt in enumerate(prompts):
        alone = search.search([prompt], 5)
        np.testing.assert_array_equal(together.leaves[user], alone.leaves[0])
        np.testing.assert_allclose(together.scores[user], alone.scores[0], atol=1e-4)


def test_generation_config_is_never_read() -> None:
    space = SidSpace((4, 5, 6))
    trie, model, prompts = Trie.build(_codes(space, 50, 0)), random_model(space, 0), _prompts(space, 0)
    plain = BeamSearch(ExportedModel(model, space, N_TEXT), trie).search(prompts, n_beams=10)
    model.generation_config.update(do_sample=True, temperature=5.0, top_k=2, repetition_penalty=3.0)
    sampled = BeamSearch(ExportedModel(model, space, N_TEXT), trie).search(prompts, n_beams=10)
    np.testing.assert_array_equal(plain.leaves, sampled.leaves)
    np.testing.assert_array_equal(plain.scores, sampled.scores)


def test_blocked_items_leave_the_enumeration_without_them() -> None:
    space = SidSpace((4, 5, 6))
    codes = _codes(space, 60, 1)  # some SIDs are shared, and blocked for one of their items only
    trie, model, prompts = Trie.build(codes), random_model(space, 1), _prompts(space, 1)
    blocked = [np.random.default_rng(user).permutation(60)[: 15 * (user % 4)] for user in range(len(prompts))]
    beams = BeamSearch(ExportedModel(model, space, N_TEXT), trie).search(
        prompts, n_beams=trie.n_leaves, blocked=blocked
    )
    for user, prompt in enumerate(prompts):
        open_codes = np.delete(codes, blocked[user], axis=0)
        expected, scores = enumerated(model, prompt, open_codes, space)
        finished = beams.leaves[user] >= 0
        np.testing.assert_array_equal(_sids(trie, codes, beams.leaves[user, finished]), expected)
        np.testing.assert_allclose(beams.scores[user, finished], scores, atol=1e-4)


_SPACE = SidSpace((3, 4, 5))
_MODEL = random_model(_SPACE, 7, hidden=16, n_layers=1)


@settings(max_examples=60)
@given(st.data())
def test_as_many_distinct_open_sids_as_there_are_beams_or_all(data: st.DataObject) -> None:
    codes = np.array(data.draw(st.lists(st.tuples(*(st.integers(0, size - 1) for size in _SPACE.sizes)), min_size=1)))
    numbers = st.lists(st.integers(0, len(codes) - 1))
    blocked = [np.array(data.draw(numbers), dtype=np.int64) for _ in range(3)]
    n_beams = data.draw(st.integers(1, 12))
    trie = Trie.build(codes)
    beams = BeamSearch(ExportedModel(_MODEL, _SPACE, N_TEXT), trie).search(_prompts(_SPACE, 0, 3), n_beams, blocked)
    for user, items in enumerate(blocked):
        leaves = beams.leaves[user][beams.leaves[user] >= 0]
        open_leaves = np.unique(np.delete(trie.paths[:, -1], items))
        assert len(set(leaves.tolist())) == len(leaves) == min(n_beams, len(open_leaves))
        assert set(leaves.tolist()) <= set(open_leaves.tolist())
        assert np.isfinite(beams.scores[user, : len(leaves)]).all()
        assert (np.diff(beams.scores[user, : len(leaves)]) <= 0).all()


@given(arrays(np.float32, (3, 20), elements=st.sampled_from([-np.inf, -2.0, -1.0, -0.5])), st.integers(1, 20))
def test_the_greatest_are_those_of_a_stable_sort(values: np.ndarray, k: int) -> None:
    best, places = _stable_top_k(torch.from_numpy(values), k)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(best, np.take_along_axis(values, expected, axis=1))


def test_a_model_that_has_diverged_finds_nothing() -> None:
    space = SidSpace((4, 5, 6))
    model = random_model(space, 3)
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(torch.nan)
    beams = BeamSearch(ExportedModel(model, space, N_TEXT), Trie.build(_codes(space, 40, 3))).search(
        _prompts(space, 3), n_beams=10
    )
    assert (beams.leaves == -1).all()


def test_ties_go_to_the_lower_code() -> None:
    space = SidSpace((4, 5, 6))
    codes = _codes(space, 40, 3)
    model = random_model(space, 3)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()  # every token of a level is as likely as the next
    trie = Trie.build(codes)
    beams = BeamSearch(ExportedModel(model, space, N_TEXT), trie).search(_prompts(space, 3), n_beams=10)
    np.testing.assert_array_equal(beams.leaves, np.tile(np.arange(10), (6, 1)))


def test_half_precision_products_barely_move_scores() -> None:
    space = SidSpace((4, 5, 6))
    codes = _codes(space, 40, 2)
    trie, model, prompts = Trie.build(codes), random_model(space, 2), _prompts(space, 2)
    exact = BeamSearch(ExportedModel(model, space, N_TEXT), trie).search(prompts, trie.n_leaves)
    rough = BeamSearch(ExportedModel(model.bfloat16(), space, N_TEXT), trie).search(prompts, trie.n_leaves)
    by_leaf = [np.take_along_axis(beams.scores, np.argsort(beams.leaves, axis=1), axis=1) for beams in (exact, rough)]
    assert np.abs(by_leaf[0] - by_leaf[1]).mean() < 0.1


def test_another_attention_is_refused() -> None:
    space = SidSpace((4, 5, 6))
    model = random_model(space, 0)
    model.set_attn_implementation("eager")
    with pytest.raises(ConfigError, match="attn_implementation='sdpa', not 'eager'"):
        ExportedModel(model, space, N_TEXT)


def test_a_prompt_longer_than_the_model_sees_is_an_error() -> None:
    space = SidSpace((4, 5, 6))
    trie, model = Trie.build(_codes(space, 50, 0)), random_model(space, 0)
    model.config.max_position_embeddings = 12
    beams = BeamSearch(ExportedModel(model, space, N_TEXT), trie)
    beams.search([np.arange(10)], n_beams=2)  # and two tokens of a SID
    with pytest.raises(ConfigError, match=r"a prompt of 11 tokens .* the 12 tokens .* lower decode\.max_history"):
        beams.search([np.arange(11)], n_beams=2)
