"""The decoder's top-10 equals plain, slow references, on random models."""

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
    LogitsProcessorList,
    PrefixConstrainedLogitsProcessor,
)

from tsrec.decode import BeamSearch, Trie
from tsrec.sid import SidSpace

N_TEXT = 20


def _model(space: SidSpace, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=N_TEXT + space.n_tokens,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,  # far from uniform, so that beams differ clearly
    )
    return LlamaForCausalLM(config).eval()


def _prompts(space: SidSpace, seed: int, n_users: int = 6) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, N_TEXT + space.n_tokens, random.integers(1, 12)) for _ in range(n_users)]


def _codes(space: SidSpace, n_items: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, n_items) for size in space.sizes], axis=1)


def _score(model: LlamaForCausalLM, prompt: np.ndarray, codes: np.ndarray, space: SidSpace) -> float:
    """One SID's log-probability, token by token, each among its level's tokens."""
    tokens = N_TEXT + np.array(space.offsets) + codes
    ids = torch.from_numpy(np.concatenate([prompt, tokens]))[None]
    with torch.no_grad():
        logits = model(ids).logits[0]
    total = 0.0
    for level, (offset, size) in enumerate(zip(space.offsets, space.sizes, strict=True)):
        of_level = logits[len(prompt) - 1 + level, N_TEXT + offset : N_TEXT + offset + size]
        total += float(of_level.log_softmax(0)[codes[level]])
    return total


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(4, 5, 6), (7, 9), (3, 3, 3, 4)])
def test_wide_beams_equal_full_enumeration(seed: int, sizes: tuple[int, ...]) -> None:
    space = SidSpace(sizes)
    codes = _codes(space, 40, seed)
    trie, model, prompts = Trie.build(codes), _model(space, seed), _prompts(space, seed)
    beams = BeamSearch(model, trie, space, N_TEXT).search(prompts, n_beams=trie.n_leaves)
    unique = np.unique(codes, axis=0)
    for user, prompt in enumerate(prompts):
        expected = np.array([_score(model, prompt, sid, space) for sid in unique])
        order = np.argsort(-expected, kind="stable")[:10]
        found = np.array([codes[trie.items_of(leaf)[0]] for leaf in beams.leaves[user, :10]])
        np.testing.assert_array_equal(found, unique[order])
        np.testing.assert_allclose(beams.scores[user, :10], expected[order], atol=1e-4)


class _LevelSoftmax(LogitsProcessor):
    """Restricts generate's softmax to the tokens of the level that is written next."""

    def __init__(self, space: SidSpace, prompt_length: int) -> None:
        self.space, self.prompt_length = space, prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        level = input_ids.shape[1] - self.prompt_length
        first = N_TEXT + self.space.offsets[level]
        restricted = torch.full_like(scores, -torch.inf)
        place = slice(first, first + self.space.sizes[level])
        restricted[:, place] = scores[:, place].log_softmax(-1)
        return restricted


@pytest.mark.parametrize("seed", range(2))
def test_beams_equal_generate_with_a_prefix_function(seed: int) -> None:
    space = SidSpace((16, 24, 32))
    codes = _codes(space, 600, seed)
    trie, model, prompts = Trie.build(codes), _model(space, seed), _prompts(space, seed)
    beams = BeamSearch(model, trie, space, N_TEXT).search(prompts, n_beams=20)
    existing = {tuple(sid[:depth]) for sid in codes.tolist() for depth in (1, 2, 3)}
    for user, prompt in enumerate(prompts):

        def allowed(_: int, ids: torch.Tensor, start: int = len(prompt)) -> list[int]:
            written = [int(t) - N_TEXT - space.offsets[level] for level, t in enumerate(ids[start:])]
            level = len(written)
            return [
                N_TEXT + space.offsets[level] + code
                for code in range(space.sizes[level])
                if (*written, code) in existing
            ]

        output = model.generate(
            torch.from_numpy(prompt)[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            num_beams=20,
            num_return_sequences=10,
            max_new_tokens=3,
            do_sample=False,
            length_penalty=0.0,
            eos_token_id=None,
            pad_token_id=0,
            # In this order: generate would apply a prefix function of its own before the level's softmax.
            logits_processor=LogitsProcessorList(
                [_LevelSoftmax(space, len(prompt)), PrefixConstrainedLogitsProcessor(allowed, num_beams=20)]
            ),
            return_dict_in_generate=True,
            output_scores=True,
        )
        expected = output.sequences[:, len(prompt) :].numpy() - N_TEXT - np.array(space.offsets)
        found = np.array([codes[trie.items_of(leaf)[0]] for leaf in beams.leaves[user, :10]])
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(beams.scores[user, :10], output.sequences_scores.numpy(), atol=1e-4)


def test_blocked_items_are_never_written_and_lists_stay_full() -> None:
    space = SidSpace((4, 5, 6))
    codes = np.unique(_codes(space, 60, 1), axis=0)
    trie, model, prompts = Trie.build(codes), _model(space, 1), _prompts(space, 1)
    blocked = [np.flatnonzero(codes[:, 0] <= user % 3) for user in range(len(prompts))]
    beams = BeamSearch(model, trie, space, N_TEXT).search(prompts, n_beams=8, blocked=blocked)
    for user, items in enumerate(blocked):
        found = [int(trie.items_of(leaf)[0]) for leaf in beams.leaves[user] if leaf >= 0]
        assert not set(found) & set(items.tolist())
        assert len(set(found)) == min(8, len(codes) - len(items))
