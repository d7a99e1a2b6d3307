"""Slow, plain references for the decoder: every SID scored by a forward pass of its own, and `model.generate`."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
    LogitsProcessorList,
    PrefixConstrainedLogitsProcessor,
    PreTrainedModel,
)

from tsrec.sid.space import SidSpace

N_TEXT = 20  # text tokens of the random models; SID tokens follow


def random_model(space: SidSpace, seed: int, hidden: int = 48, n_layers: int = 2) -> LlamaForCausalLM:
    """A Llama far from uniform, so that beams differ clearly."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=N_TEXT + space.n_tokens,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def sid_score(
    model: PreTrainedModel, prompt: np.ndarray, sid: np.ndarray, space: SidSpace, n_text: int = N_TEXT
) -> float:
    """One SID's log-probability, token by token, each among its level's tokens."""
    tokens = n_text + np.array(space.offsets) + sid
    with torch.no_grad():
        logits = model(torch.from_numpy(np.concatenate([prompt, tokens]))[None]).logits[0]
    total = 0.0
    for level, (offset, size) in enumerate(zip(space.offsets, space.sizes, strict=True)):
        of_level = logits[len(prompt) - 1 + level, n_text + offset : n_text + offset + size]
        total += float(of_level.log_softmax(0)[sid[level]])
    return total


def enumerated(
    model: PreTrainedModel, prompt: np.ndarray, sids: np.ndarray, space: SidSpace, n_text: int = N_TEXT
) -> tuple[np.ndarray, np.ndarray]:
    """All distinct SIDs, best first, and their scores."""
    unique = np.unique(sids, axis=0)
    scores = np.array([sid_score(model, prompt, sid, space, n_text) for sid in unique])
    order = np.argsort(-scores, kind="stable")
    return unique[order], scores[order]


def prefix_function(
    sids: np.ndarray, space: SidSpace, prompt_length: int, n_text: int
) -> Callable[[int, torch.Tensor], list[int]]:
    """What `generate` may write next, by a dictionary from each written prefix to its continuations."""
    allowed: dict[tuple[int, ...], list[int]] = defaultdict(list)
    tokens = n_text + np.array(space.offsets) + sids
    for depth in range(space.n_levels):
        for prefix in np.unique(tokens[:, : depth + 1], axis=0).tolist():
            allowed[tuple(prefix[:-1])].append(prefix[-1])
    return lambda _, ids: allowed[tuple(ids[prompt_length:].tolist())]


class LevelSoftmax(LogitsProcessor):
    """Restricts generate's softmax to the tokens of the level that is written next."""

    def __init__(self, space: SidSpace, prompt_length: int, n_text: int) -> None:
        self.space, self.prompt_length, self.n_text = space, prompt_length, n_text

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        level = input_ids.shape[1] - self.prompt_length
        first = self.n_text + self.space.offsets[level]
        restricted = torch.full_like(scores, -torch.inf)
        place = slice(first, first + self.space.sizes[level])
        restricted[:, place] = scores[:, place].log_softmax(-1)
        return restricted


def generated(
    model: LlamaForCausalLM,
    prompts: np.ndarray,
    sids: np.ndarray,
    space: SidSpace,
    n_beams: int,
    n_best: int,
    n_text: int = N_TEXT,
) -> tuple[np.ndarray, np.ndarray]:
    """SIDs (U, n_best, L) and scores (U, n_best) by `model.generate`; `prompts` (U, T) are of one length."""
    length = prompts.shape[1]
    output = cast(Any, model).generate(  # its types know neither this model nor that a dictionary is asked for
        torch.from_numpy(prompts).to(model.device),
        attention_mask=torch.ones(prompts.shape, dtype=torch.long, device=model.device),
        num_beams=n_beams,
        num_return_sequences=n_best,
        max_new_tokens=space.n_levels,
        do_sample=False,
        length_penalty=0.0,
        eos_token_id=None,
        pad_token_id=0,
        # In this order: generate would apply a prefix function of its own before the level's softmax.
        logits_processor=LogitsProcessorList(
            [
                LevelSoftmax(space, length, n_text),
                PrefixConstrainedLogitsProcessor(prefix_function(sids, space, length, n_text), num_beams=n_beams),
            ]
        ),
        return_dict_in_generate=True,
        output_scores=True,
    )
    found = output.sequences[:, length:].cpu().numpy() - n_text - np.array(space.offsets)
    shape = (len(prompts), n_best)
    return found.reshape(*shape, space.n_levels), output.sequences_scores.cpu().numpy().reshape(shape)
