"""Log-probabilities of given SIDs after a prompt, exact, in one forward pass of many prompts.

A prompt and all distinct beginnings of its SIDs are tokens of *one* sequence under a custom attention mask: a beginning
sees the prompt, its own beginnings and itself. So SIDs that begin alike share the work, and nothing is cached.

The scores are those of `BeamSearch`: at each level the softmax covers the tokens of that level, as trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache

from tsrec.decode.batching import batches_by_tokens, check_prompts
from tsrec.decode.writer import SidWriter


def score_sids(
    model: SidWriter, prompts: Sequence[np.ndarray], sids: Sequence[np.ndarray], max_tokens: int
) -> list[np.ndarray]:
    """For each prompt the log-probabilities (C, L) float32 of its C SIDs, token by token; their sum is a beam's score.

    Args:
        model: what writes SIDs of L levels.
        prompts: U arrays of token ids, each at least one long.
        sids: per prompt (C, L) int codes, in any order and with repeats; C may be 0.
        max_tokens: tokens of one batch, of prompts and of distinct beginnings, padded to the longest; or one prompt.

    Raises:
        ConfigError: a prompt and a SID are together longer than the model's context.
    """
    sequences = [_Sequence.of(model, *pair) for pair in zip(prompts, sids, strict=True)]
    found = [np.empty(codes.shape, dtype=np.float32) for codes in sids]
    asked = np.array([row for row, codes in enumerate(sids) if len(codes)], dtype=np.int64)
    if not len(asked):
        return found
    check_prompts(model, [prompts[row] for row in asked])
    for batch in batches_by_tokens(np.array([len(sequences[row].ids) for row in asked]), max_tokens):
        rows = asked[batch]
        scores = _score_batch(model, [sequences[row] for row in rows], [sids[row] for row in rows])
        for row, part in zip(rows, scores, strict=True):
            found[row] = part
    return found


@dataclass(frozen=True)
class _Sequence:
    """A prompt of T tokens and the P distinct beginnings of its SIDs, those of one token first.

    `ids`, `positions` (T + P,) int64; `parents`: for each length of a beginning, the places in the sequence of the
    beginnings that are one token shorter; `before` (C, L) int64: the place behind which each token of each SID is
    written; `n_prompt`: T.
    """

    ids: np.ndarray
    positions: np.ndarray
    parents: list[np.ndarray]
    before: np.ndarray
    n_prompt: int

    @classmethod
    def of(cls, model: SidWriter, prompt: np.ndarray, codes: np.ndarray) -> "_Sequence":
        """The sequence of one prompt and its SIDs (C, L)."""
        n_levels, n_prompt = model.space.n_levels, len(prompt)
        ids, positions, parents = [np.asarray(prompt, dtype=np.int64)], [np.arange(n_prompt)], []
        before = np.full((len(codes), n_levels), n_prompt - 1, dtype=np.int64)
        n_tokens = n_prompt
        for level in range(n_levels - 1):
            size = model.space.sizes[level]
            pairs, own = np.unique(before[:, level] * size + codes[:, level], return_inverse=True)
            parents.append(pairs // size)
            ids.append(model.first_sid_id + model.space.offsets[level] + pairs % size)
            positions.append(np.full(len(pairs), n_prompt + level))
            before[:, level + 1] = n_tokens + own
            n_tokens += len(pairs)
        return cls(np.concatenate(ids), np.concatenate(positions), parents, before, n_prompt)

    def see(self, mask: np.ndarray) -> None:
        """Write into `mask` (W, W) bool, which is causal, what each token sees."""
        mask[:, self.n_prompt :] = False  # padding sees the prompt, which keeps softmax finite
        start = self.n_prompt
        for places in self.parents:  # those of the beginnings of one token are the prompt's last
            own = np.arange(start, start + len(places))
            mask[own] = mask[places]
            mask[own, own] = True
            start += len(places)


def _score_batch(model: SidWriter, sequences: list[_Sequence], sids: list[np.ndarray]) -> list[np.ndarray]:
    """Per sequence the log-probabilities (C, L) of its SIDs (C, L), token by token."""
    width = max(len(sequence.ids) for sequence in sequences)
    ids = np.zeros((len(sequences), width), dtype=np.int64)
    positions = np.zeros((len(sequences), width), dtype=np.int64)
    mask = np.tile(np.tri(width, dtype=bool), (len(sequences), 1, 1))  # (U, W, W)
    for row, sequence in enumerate(sequences):
        n_tokens = len(sequence.ids)
        ids[row, :n_tokens], positions[row, :n_tokens] = sequence.ids, sequence.positions
        sequence.see(mask[row])
    found = [np.empty(codes.shape, dtype=np.float32) for codes in sids]
    with torch.inference_mode():
        tokens, places_of_tokens, seen = (torch.from_numpy(array).to(model.device) for array in (ids, positions, mask))
        hidden = model.hidden(tokens, places_of_tokens, seen, DynamicCache())  # (U, W, D)
        for level in range(model.space.n_levels):
            places = np.concatenate([row * width + sequence.before[:, level] for row, sequence in enumerate(sequences)])
            distinct, own = np.unique(places, return_inverse=True)
            states = hidden.flatten(0, 1)[torch.from_numpy(distinct).to(model.device)]
            scores = model.level_logits(states[None], level)[0].log_softmax(dim=-1)  # (distinct places, codes)
            codes = np.concatenate([of_one[:, level] for of_one in sids]).astype(np.int64)
            picked = scores[torch.from_numpy(own).to(model.device), torch.from_numpy(codes).to(model.device)]
            stops = np.cumsum([len(of_one) for of_one in sids])[:-1]
            for row, part in enumerate(np.split(picked.cpu().numpy(), stops)):
                found[row][:, level] = part
    return found
