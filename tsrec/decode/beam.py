"""Constrained beam search with one prompt prefill per user.

All beams of a user are tokens of *one* sequence under a custom attention mask: each sees the prompt, its ancestors
and itself. So the prompt's cache is neither copied nor reordered, and a SID of three levels takes three forward
passes: the prompts, the level-1 beams, the level-2 beams. The model's `generation_config` is never read.

Scores are log-probabilities within the tokens of each level, as trained; of those, only existing children compete.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from tsrec.decode.trie import Trie
from tsrec.decode.writer import SidWriter
from tsrec.errors import ConfigError


@dataclass(frozen=True)
class Beams:
    """Finished beams of U users, best first: `leaves` (U, B) int64, -1 where there is none; `scores` (U, B)."""

    leaves: np.ndarray
    scores: np.ndarray


class BeamSearch:
    """Beam search over the SIDs of a trie.

    Args:
        model: what writes them.
        trie: the SIDs that exist.
    """

    def __init__(self, model: SidWriter, trie: Trie) -> None:
        self.model, self.space, self.device = model, model.space, model.device
        self.child_start = [torch.from_numpy(start).to(self.device) for start in trie.child_start]
        self.child_code = [torch.from_numpy(code).to(self.device) for code in trie.child_code]
        self.n_items_below = [
            torch.from_numpy(np.bincount(trie.paths[:, level])).to(self.device) for level in range(trie.n_levels)
        ]
        self.paths = torch.from_numpy(trie.paths).to(self.device)

    @torch.inference_mode()
    def search(self, prompts: list[np.ndarray], n_beams: int, blocked: list[np.ndarray] | None = None) -> Beams:
        """The `n_beams` best SIDs for each prompt, or all there are.

        Args:
            prompts: U arrays of token ids, each at least one long.
            blocked: per user, item indices that may not be recommended; a SID whose items are all blocked is never
                written, and no beam is spent on a prefix that leads to such SIDs alone.

        Raises:
            ConfigError: a prompt and a SID are together longer than the model's context.

        Every kept prefix leads to a SID that may be written. So min(n_beams, such SIDs) beams always finish.
        """
        blocked_pairs = None if blocked is None else self._blocked_pairs(blocked)
        ids, real = self._pad(prompts)
        n_users, width = ids.shape
        cache = DynamicCache()
        causal = torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        itself = torch.eye(width, dtype=torch.bool, device=self.device)
        mask = (causal & real[:, None, :]) | itself  # (U, T, T); padding sees itself, which keeps softmax finite
        lengths = real.sum(dim=1)
        positions = (real.cumsum(dim=1) - 1).clamp(min=0)
        hidden = self.model.hidden(ids, positions, mask, cache)[:, -1:]  # (U, 1, D): prompts are padded on the left
        nodes = torch.zeros(n_users, 1, dtype=torch.long, device=self.device)
        scores = torch.zeros(n_users, 1, device=self.device)
        visible = real[:, None, :]  # (U, 1, keys): the keys that each beam's next token attends to, besides itself
        for level in range(self.space.n_levels):
            nodes, codes, scores, origin = self._expand(level, hidden, nodes, scores, n_beams, blocked_pairs)
            if level == self.space.n_levels - 1:
                break
            n_kept = nodes.shape[1]
            visible = visible.gather(1, origin[..., None].expand(-1, -1, visible.shape[2]))
            itself = torch.eye(n_kept, dtype=torch.bool, device=self.device).expand(n_users, -1, -1)
            visible = torch.cat([visible, itself], dim=2)  # (U, B, keys + B)
            tokens = self.model.first_sid_id + self.space.offsets[level] + codes
            hidden = self.model.hidden(tokens, (lengths[:, None] + level).expand(-1, n_kept), visible, cache)
        finished = torch.isfinite(scores)
        return Beams(nodes.masked_fill(~finished, -1).cpu().numpy(), scores.cpu().numpy())

    def search_in_batches(
        self, prompts: list[np.ndarray], n_beams: int, batch_size: int, blocked: list[np.ndarray] | None = None
    ) -> Beams:
        """`search` for any number of prompts, `batch_size` at a time.

        Prompts of similar length share a batch, since all are padded to the longest of it.
        """
        order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
        parts = []
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            batch_blocked = None if blocked is None else [blocked[row] for row in batch]
            parts.append(self.search([prompts[row] for row in batch], n_beams, batch_blocked))
        width = max(part.leaves.shape[1] for part in parts)
        leaves = np.full((len(prompts), width), -1, dtype=np.int64)
        scores = np.full((len(prompts), width), -np.inf, dtype=np.float32)
        rows = np.split(order, np.cumsum([len(part.leaves) for part in parts])[:-1])
        for part_rows, part in zip(rows, parts, strict=True):
            leaves[part_rows, : part.leaves.shape[1]] = part.leaves
            scores[part_rows, : part.scores.shape[1]] = part.scores
        return Beams(leaves, scores)

    def _pad(self, prompts: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Token ids (U, T), padded on the left, and (U, T) bool: where they are tokens of the prompt."""
        width, limit = max(len(prompt) for prompt in prompts), self.model.max_tokens
        if limit is not None and width + self.space.n_levels - 1 > limit:
            raise ConfigError(
                f"a prompt of {width} tokens and a SID are longer than the {limit} tokens that the model "
                "sees; lower decode.max_history"
            )
        ids = np.zeros((len(prompts), width), dtype=np.int64)
        real = np.zeros((len(prompts), width), dtype=bool)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = prompt
            real[row, width - len(prompt) :] = True
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(real).to(self.device)

    def _expand(
        self,
        level: int,
        hidden: Tensor,
        nodes: Tensor,
        scores: Tensor,
        n_beams: int,
        blocked_pairs: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best children of all beams: (U, B') nodes, codes, scores, and the beam that each came from."""
        log_probabilities = self.model.level_logits(hidden, level).log_softmax(dim=-1)  # (U, B, codes of the level)
        start, codes = self.child_start[level], self.child_code[level]
        degree = start[nodes + 1] - start[nodes]  # (U, B)
        slots = torch.arange(int(degree.max()), device=self.device)
        children = (start[nodes][..., None] + slots).clamp(max=len(codes) - 1)  # (U, B, C)
        exists = (slots < degree[..., None]) & torch.isfinite(scores)[..., None]
        if blocked_pairs is not None:
            is_open = self._has_unblocked_items(level, len(nodes), *blocked_pairs)  # (U, nodes)
            exists &= is_open.gather(1, children.flatten(1)).view_as(children)
        child_codes = codes[children]
        totals = scores[..., None] + log_probabilities.gather(2, child_codes)
        totals = totals.masked_fill(~exists, -torch.inf).flatten(1)  # (U, B * C)
        # A stable sort settles ties by rule: the better beam, then the lower code.
        kept = min(n_beams, totals.shape[1])
        best, index = (part[:, :kept] for part in totals.sort(dim=1, descending=True, stable=True))
        children, child_codes = children.flatten(1).gather(1, index), child_codes.flatten(1).gather(1, index)
        return children, child_codes, best, index // len(slots)

    def _blocked_pairs(self, blocked: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """All (user, blocked item), each pair once, as two int64 tensors."""
        distinct = [np.unique(items).astype(np.int64) for items in blocked]
        users = np.repeat(np.arange(len(blocked)), [len(items) for items in distinct])
        return torch.from_numpy(users).to(self.device), torch.from_numpy(np.concatenate(distinct)).to(self.device)

    def _has_unblocked_items(self, level: int, n_users: int, users: Tensor, items: Tensor) -> Tensor:
        """(U, nodes) bool: nodes of the level that lead to an item which is not blocked for the user."""
        n_items = self.n_items_below[level]
        n_blocked = torch.zeros(n_users, len(n_items), dtype=torch.long, device=self.device)
        n_blocked.index_put_((users, self.paths[items, level]), torch.ones_like(items), accumulate=True)
        return n_blocked < n_items
