"""Constrained beam search with one prompt prefill per user.

All beams of a user are tokens of *one* sequence under a custom attention mask: each sees the prompt, its ancestors
and itself. So the prompt's cache is neither copied nor reordered, and a SID of three levels takes three forward
passes: the prompts, the level-1 beams, the level-2 beams. The model's `generation_config` is never read.

Scores are log-probabilities within the tokens of each level, as trained; of those, only existing children compete.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from tsrec.decode.batching import batches_by_tokens, check_prompts
from tsrec.decode.trie import Trie
from tsrec.decode.writer import SidWriter


@dataclass(frozen=True)
class Beams:
    """Finished beams of U users, best first: `leaves` (U, B) int64, -1 where there is none; `scores` (U, B)."""

    leaves: np.ndarray
    scores: np.ndarray


_Edges = tuple[Tensor, Tensor, Tensor]  # (E,) users, upper nodes, and places among the edges of the upper node


class BeamSearch:
    """Beam search over the SIDs of a trie.

    Args:
        model: what writes them.
        trie: the SIDs that exist.
    """

    def __init__(self, model: SidWriter, trie: Trie) -> None:
        self.model, self.space, self.device, self._trie = model, model.space, model.device, trie
        self.child_start = [torch.from_numpy(start).to(self.device) for start in trie.child_start]
        self.child_code = [torch.from_numpy(code).to(self.device) for code in trie.child_code]

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
        closed = self._closed_edges(blocked) if blocked is not None else [None] * self.space.n_levels
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
            nodes, codes, scores, origin = self._expand(level, hidden, nodes, scores, n_beams, closed[level])
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
        self, prompts: list[np.ndarray], n_beams: int, max_tokens: int, blocked: list[np.ndarray] | None = None
    ) -> Beams:
        """`search` for any number of prompts, as many at a time as have `max_tokens` tokens, or one.

        Counted are prompts, padded to the longest of their batch, and beams. Prompts of similar length share a batch.
        """
        lengths = np.array([len(prompt) for prompt in prompts])
        rows = list(batches_by_tokens(lengths + (self.space.n_levels - 1) * n_beams, max_tokens))
        parts = []
        for batch in rows:
            batch_blocked = None if blocked is None else [blocked[row] for row in batch]
            parts.append(self.search([prompts[row] for row in batch], n_beams, batch_blocked))
        width = max(part.leaves.shape[1] for part in parts)
        leaves = np.full((len(prompts), width), -1, dtype=np.int64)
        scores = np.full((len(prompts), width), -np.inf, dtype=np.float32)
        for part_rows, part in zip(rows, parts, strict=True):
            leaves[part_rows, : part.leaves.shape[1]] = part.leaves
            scores[part_rows, : part.scores.shape[1]] = part.scores
        return Beams(leaves, scores)

    def _pad(self, prompts: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Token ids (U, T), padded on the left, and (U, T) bool: where they are tokens of the prompt."""
        check_prompts(self.model, prompts)
        width = max(len(prompt) for prompt in prompts)
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
        closed: _Edges | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best children of all beams: (U, B') nodes, codes, scores, and the beam that each came from."""
        log_probabilities = self.model.level_logits(hidden, level).log_softmax(dim=-1)  # (U, B, codes of the level)
        start, codes = self.child_start[level], self.child_code[level]
        first = start[nodes].long()
        degree = start[nodes + 1] - first  # (U, B)
        slots = torch.arange(int(degree.max()), device=self.device)
        children = (first[..., None] + slots).clamp(max=len(codes) - 1)  # (U, B, C)
        is_finite = torch.isfinite(scores)
        exists = (slots < degree[..., None]) & is_finite[..., None]
        if closed is not None:
            # Each closed edge hangs from at most one beam of its user: the one at the edge's upper node.
            users, parents, closed_slots = closed
            n_parents = len(start) - 1
            keys = torch.arange(len(nodes), device=self.device)[:, None] * n_parents + nodes
            keys, beams = keys.masked_fill(~is_finite, -1).flatten().sort()
            wanted = users * n_parents + parents
            place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
            found = keys[place] == wanted
            exists.flatten(0, 1)[beams[place[found]], closed_slots[found]] = False
        child_codes = codes[children].long()
        totals = scores[..., None] + log_probabilities.gather(2, child_codes)
        # (U, B * C); a model that has diverged scores NaN, and then nothing is found
        totals = totals.masked_fill(~exists, -torch.inf).flatten(1).nan_to_num(-torch.inf, neginf=-torch.inf)
        # Ties are settled by rule: the better beam, then the lower code.
        best, index = _stable_top_k(totals, min(n_beams, totals.shape[1]))
        children, child_codes = children.flatten(1).gather(1, index), child_codes.flatten(1).gather(1, index)
        return children, child_codes, best, index // len(slots)

    def _closed_edges(self, blocked: list[np.ndarray]) -> Sequence[_Edges | None]:
        """For each level the edges that lead to blocked items alone.

        Only what lies above blocked items is looked at, however large the trie is.
        """
        distinct = [np.unique(items).astype(np.int64) for items in blocked]
        users = np.repeat(np.arange(len(blocked)), [len(items) for items in distinct])
        paths = self._trie.paths[np.concatenate(distinct)].astype(np.int64)
        parents, closed = np.zeros(len(users), dtype=np.int64), list[_Edges]()
        levels = zip(paths.T, self._trie.item_starts, self._trie.child_start, strict=True)
        for nodes, item_start, child_start in levels:
            keys, first, n_blocked = np.unique(users * len(item_start) + nodes, return_index=True, return_counts=True)
            edges = keys % len(item_start)
            first = first[n_blocked == item_start[edges + 1] - item_start[edges]]
            slots = nodes[first] - child_start[parents[first]]
            ours, upper, places = (
                torch.from_numpy(part).to(self.device) for part in (users[first], parents[first], slots)
            )
            closed.append((ours, upper, places))
            parents = nodes
        return closed


def _stable_top_k(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k greatest of each row of (U, N), and their places: as a stable sort of all gives them, lower places first
    where values tie, and much sooner."""
    bound = values.topk(k, dim=1).values[:, -1:]
    greater, tied = values > bound, values == bound
    kept = greater | (tied & (tied.cumsum(dim=1) <= k - greater.sum(dim=1, keepdim=True)))
    places = kept.nonzero()[:, 1].view(-1, k)
    best, order = values.gather(1, places).sort(dim=1, descending=True, stable=True)
    return best, places.gather(1, order)
