"""GRPO (2402.03300): a policy that learns from its own lists. Rollouts of each history, their rewards, and the loss.

Rollouts are the constrained beams that `decode` would write, so nothing is drawn at random. All rollouts of a history
are branches of one packed sequence, so its prompt is computed once, and their probabilities are those of supervised
training, within the tokens of each level. One update follows each rollout: the ratio of GRPO is 1, and nothing is
clipped. Whatever the Trainer asks for, the model is in evaluation mode: with dropout, the policy that is updated would
not be the one that wrote the lists, and its divergence from the reference would be that of the noise.

Not on `trl.GRPOTrainer`: a `rollout_func` of its own could bring the beams (1.16), but it computes prompt and rollout
anew for each of them, twice, and log-probabilities over the whole vocabulary instead of a level.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from tsrec.decode.beam import BeamSearch
from tsrec.decode.trie import Trie
from tsrec.decode.writer import cached_hidden
from tsrec.finetune.model import SidModel
from tsrec.histories import Histories
from tsrec.llm.causal_lm import max_tokens
from tsrec.sid.tokens import HistoryTokens, sid_token_ids
from tsrec.training.packing import IGNORED, SAME_PLACE, Example, pack

MEASURES = ("reward", "hit", "kl")  # what the training log holds in place of tasks
_TOKENS_AT_ONCE = 2048


class TargetPrompts:
    """Each train target as an example: the history before it, and its SID, which alone is labelled.

    Args:
        histories: of all users.
        events: (T,) the rows of the targets.
        tokens: how items are written.
        max_items: items of history, the last ones.
    """

    def __init__(self, histories: Histories, events: np.ndarray, tokens: HistoryTokens, max_items: int) -> None:
        self._histories, self._events, self._tokens, self._max_items = histories, events, tokens, max_items

    def __len__(self) -> int:
        """Number of targets."""
        return len(self._events)

    def __getitem__(self, index: int) -> Example:
        """The target `index`."""
        event = int(self._events[index])
        past = self._histories.history_of(event, self._max_items)
        target = self._tokens.sids[self._histories.items[event]]  # (L,)
        ids = np.concatenate([self._tokens.prompt(past), target[:-1]])
        labels = np.full(len(ids), IGNORED, dtype=np.int64)
        labels[-len(target) :] = target
        return Example(ids, labels, task=0)


@dataclass(frozen=True)
class RolloutGroups:
    """Rollouts of U histories: `prompts` their token ids, U arrays; `tokens` (U, G, L) int64 the SIDs that were
    written, best first; `rewards` (U, G)."""

    prompts: list[np.ndarray]
    tokens: np.ndarray
    rewards: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        """(U,) bool: the groups that hold the next item. The others have no advantage, and so no gradient."""
        found: np.ndarray = self.rewards.max(axis=1) > 0
        return found


class Policy(nn.Module):
    """A `SidModel` that learns from rollouts; the Trainer's model.

    Args:
        model: the policy, on its device.
        reference: the same as it was before, on the same device; it is frozen.
        codes: (n_items, L) int64, the items' SIDs.
        beams: rollouts of each target.
        kl: weight of the divergence from the reference.
        autocast: dtype of matrix products, or None for the model's own.
    """

    def __init__(
        self,
        model: SidModel,
        reference: SidModel,
        codes: np.ndarray,
        beams: int,
        kl: float,
        autocast: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.model = model
        self._reference = [reference.eval().requires_grad_(False)]  # in a list it is no part of checkpoints
        self.beams, self.kl = beams, kl
        trie = Trie.build(codes)
        self._search = BeamSearch(_Writer(model, autocast), trie)
        self._leaf_tokens = sid_token_ids(model.n_text, model.space, codes[trie.items[trie.item_start[:-1]]])
        self.train(False)

    def train(self, mode: bool = True) -> "Policy":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, labels: Tensor, tasks: Tensor
    ) -> dict[str, Tensor]:
        """Roll out every packed target, and give the loss, and each measure's sum and count.

        The loss is the mean over all groups, those without the next item counted: their part of the policy's gradient
        is 0, so they are not computed. They are left out of the divergence too. The log's reward is a group's sum.
        """
        groups = self.roll_out(input_ids, segment_ids, labels)
        hit, n_groups = groups.hit, len(groups.prompts)
        loss, kl, n_tokens = self.model.sid_rows.sum() * 0, 0.0, 0
        if hit.any():
            loss, kl, n_tokens = self._loss(groups, np.flatnonzero(hit))
        return {
            "loss": loss / n_groups,
            "task_loss": loss.new_tensor([groups.rewards.sum(), hit.sum(), kl]),
            "task_count": loss.new_tensor([n_groups, n_groups, n_tokens]),
        }

    def roll_out(self, input_ids: Tensor, segment_ids: Tensor, labels: Tensor) -> RolloutGroups:
        """The beams of every packed target (B, T), by the model as it is now."""
        prompts, targets = [], []
        rows = (part.cpu().numpy() for part in (input_ids, segment_ids, labels))
        for ids, segments, label in zip(*rows, strict=True):
            for segment in range(1, int(segments.max()) + 1):
                sequence, target = ids[segments == segment], label[segments == segment]
                targets.append(target[target != IGNORED])
                # All of the target but its last token stands behind the prompt.
                prompts.append(sequence[: len(sequence) - len(targets[-1]) + 1])
        # No cache of cast weights: older torch hands the update what was cast here, and that has no gradient.
        with torch.autocast(self._search.device.type, enabled=False, cache_enabled=False):
            leaves = self._search.search_in_batches(prompts, self.beams, _TOKENS_AT_ONCE).leaves
        tokens = self._leaf_tokens[leaves]  # (U, G, L)
        return RolloutGroups(prompts, tokens, rewards((tokens == np.stack(targets)[:, None]).all(axis=2)))

    def _loss(self, groups: RolloutGroups, selected: np.ndarray) -> tuple[Tensor, float, int]:
        """The loss of the `selected` groups, as GRPO defines it.

        The divergence of a token is estimated as r - log r - 1, r the reference's probability over the policy's.

        Returns:
            the sum of the groups' losses, each a mean over its tokens; the sum of all tokens' divergences; and the
            number of tokens.
        """
        n_rollouts, n_levels = groups.tokens.shape[1:]
        device = self.model.sid_rows.device
        examples = [branch_rollouts(groups.prompts[group], groups.tokens[group], n) for n, group in enumerate(selected)]
        batch = {name: values.to(device) for name, values in pack(examples, pad_id=0).items()}
        rollout = batch.pop("tasks")[batch["labels"] != IGNORED]  # (N,) whose token each label is
        group_advantages = torch.from_numpy(advantages(groups.rewards[selected])).float()  # (U, G)
        advantage = group_advantages.to(device).flatten()[rollout]  # (N,)
        log_probabilities = -self.model.losses(**batch)  # (N,)
        loss = -(advantage * log_probabilities).sum()
        with torch.no_grad():
            reference_log_probabilities = -self._reference[0].losses(**batch)
        log_ratio = reference_log_probabilities - log_probabilities
        divergence = (log_ratio.exp() - log_ratio - 1).sum()
        loss = loss + self.kl * divergence
        return loss / (n_rollouts * n_levels), float(divergence.detach()), len(rollout)


def branch_rollouts(prompt: np.ndarray, rollouts: np.ndarray, number: int) -> Example:
    """A prompt (T,) with its rollouts (G, L) as branches; `task` counts rollouts, G for each example before it.

    The prompt's last token, of which G different ones follow, stands on each branch instead of the trunk.
    """
    n_rollouts, n_levels = rollouts.shape
    trunk, branches = prompt[:-1], np.column_stack([np.full(n_rollouts, prompt[-1]), rollouts[:, :-1]])
    forks = len(trunk) + SAME_PLACE * np.arange(n_rollouts)
    tasks = number * n_rollouts + np.arange(n_rollouts)
    return Example(
        np.concatenate([trunk, branches.ravel()]),
        np.concatenate([np.full(len(trunk), IGNORED), rollouts.ravel()]),
        task=np.concatenate([np.zeros(len(trunk), dtype=np.int64), np.repeat(tasks, n_levels)]),
        forks=np.concatenate([np.zeros(len(trunk), dtype=np.int64), np.repeat(forks, n_levels)]),
    )


class _Writer:
    """A `SidModel` in training as what beams ask (`SidWriter`)."""

    def __init__(self, model: SidModel, autocast: torch.dtype | None) -> None:
        self._model, self._autocast = model, autocast
        self.space, self.first_sid_id, self.device = model.space, model.n_text, model.sid_rows.device
        self.max_tokens = max_tokens(model.decoder.config)

    def hidden(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """See `SidWriter`."""
        dtype, embedded = self._autocast, self._model.embed(ids)
        with torch.autocast(self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            return cached_hidden(self._model.decoder, positions, mask, cache, inputs_embeds=embedded)

    def level_logits(self, hidden: Tensor, level: int) -> Tensor:
        """See `SidWriter`."""
        return self._model.level_logits(hidden.float(), level)


def rewards(is_true: np.ndarray) -> np.ndarray:
    """(U, G) float64 rewards of U groups of rollouts in order of rank; `is_true` (U, G) bool marks the next item's.

    The next item has 1; every other loses by its rank r, from 1 on, as (1 / log2(r + 1)) over the sum of that for all
    G: what stands high and is wrong costs most (MiniOneRec, 2510.24431, 3.3). A group without the next item has 0 all
    over. So a group's rewards add up to the discounted gain of the rank at which the next item stands, as a share of
    the gains of all ranks.
    """
    discounts = 1 / np.log2(np.arange(is_true.shape[1]) + 2)
    values = np.where(is_true, 1.0, -discounts / discounts.sum())
    return np.where(is_true.any(axis=1, keepdims=True), values, 0.0)


def advantages(group_rewards: np.ndarray) -> np.ndarray:
    """(U, G) rewards less their group's mean, over its standard deviation (GRPO, 2402.03300); 0 where all are alike."""
    centred = group_rewards - group_rewards.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
