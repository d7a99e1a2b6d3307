"""The fine-tuned LLM as a member: the prompt, constrained beams, and the items behind them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tsrec.columns import Columns as C
from tsrec.decode.beam import BeamSearch
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel
from tsrec.machine.devices import resolve_device, resolve_precision
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.ranking import Filter, Ranked, empty_lists, top_k_lists
from tsrec.recommenders.stage_settings import BeamSettings
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import HistoryTokens, first_sid_id
from tsrec.store import Artifact


@dataclass(frozen=True)
class _ItemSearch:
    """Beam search over M allowed items.

    `numbers` (M,): their item numbers; `place` (N,): the place of each item among the M, or -1.
    """

    search: BeamSearch
    trie: Trie
    numbers: np.ndarray
    place: np.ndarray


@dataclass
class Llm:
    """A trained model over a catalogue; `codes` (N, L) are the items' SIDs, `tokens` how it writes them."""

    model: PreTrainedModel
    space: SidSpace
    codes: np.ndarray
    catalogue: Catalogue
    first_sid_id: int
    tokens: HistoryTokens
    config: BeamSettings
    _last_search: tuple[bytes, _ItemSearch] | None = field(default=None, init=False)

    def rank(self, pasts: Sequence[np.ndarray], k: int, allow: Filter) -> Ranked:
        """Items of the best SIDs, whose log-probabilities are the scores; at most as many as there are beams.

        Nothing for an empty history: the model was trained on none.
        Items that share a SID share its score; the more popular comes first, then the lower number.
        """
        item_search = self._search_over(allow.allowed)
        ranked = empty_lists(len(pasts), k)
        with_events = np.array([row for row, past in enumerate(pasts) if len(past)], dtype=np.int64)
        if not len(item_search.numbers) or not len(with_events):
            return ranked
        prompts = [self.tokens.prompt(pasts[row][-self.config.max_history :]) for row in with_events]
        allow = allow.for_rows(with_events)
        blocked = None
        if allow.blocked is not None:
            placed = [item_search.place[np.asarray(items, dtype=np.int64)] for items in allow.blocked]
            blocked = [places[places >= 0] for places in placed]
        found = item_search.search.search_in_batches(prompts, self.config.beams, self.config.batch_users, blocked)
        ranked.items[with_events], ranked.scores[with_events] = _items_of_leaves(
            item_search, found.leaves, found.scores, k, allow
        )
        return ranked

    def _search_over(self, allowed: np.ndarray | None) -> _ItemSearch:
        """The search over all allowed items; the last one is kept, for callers that ask block by block."""
        allowed = np.ones(self.catalogue.n_items, dtype=bool) if allowed is None else allowed
        allowed_bits = np.packbits(allowed).tobytes()
        if self._last_search is None or self._last_search[0] != allowed_bits:
            numbers = np.flatnonzero(allowed)
            place = np.full(self.catalogue.n_items, -1, dtype=np.int64)
            place[numbers] = np.arange(len(numbers))
            trie = Trie.build(self.codes[numbers], priority=self.catalogue.train_counts[numbers])
            precision = resolve_precision(self.config.precision, self.model.device)
            autocast = precision if precision != torch.float32 else None
            writer = ExportedModel(self.model, self.space, self.first_sid_id, autocast)
            self._last_search = (allowed_bits, _ItemSearch(BeamSearch(writer, trie), trie, numbers, place))
        return self._last_search[1]


def load_llm(trained: Artifact, sids: Artifact, catalogue: Catalogue, config: BeamSettings) -> Llm:
    """Load the model of an artifact that holds a trained LLM: weights in float32, products as `config.precision` says.

    Raises:
        ArtifactError: the model's tokenizer lacks the SID tokens of `sids`.
    """
    folder = trained.file("model")
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, dtype=torch.float32, attn_implementation="sdpa"
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    space = SidSpace(tuple(sids.json("sid_space")["sizes"]))
    codes, first = sids.matrix("item_sids", C.CODES).astype(np.int64), first_sid_id(tokenizer, space, folder)
    return Llm(
        model=model.to(resolve_device(config.device)).eval(),
        space=space,
        codes=codes,
        catalogue=catalogue,
        first_sid_id=first,
        tokens=HistoryTokens.from_tokenizer(tokenizer, space, first, codes),
        config=config,
    )


def _items_of_leaves(item_search: _ItemSearch, leaves: np.ndarray, scores: np.ndarray, k: int, allow: Filter) -> Ranked:
    """The items behind (B, n_beams) leaves, in the order of the beams."""
    rows, places = np.nonzero(leaves >= 0)
    leaf = leaves[rows, places]
    start, count = (
        item_search.trie.item_start[leaf],
        item_search.trie.item_start[leaf + 1] - item_search.trie.item_start[leaf],
    )
    # One entry for each item of each leaf: `within` counts the items of a leaf from 0.
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    items = item_search.numbers[item_search.trie.items[np.repeat(start, count) + within]]
    rows, values = np.repeat(rows, count), np.repeat(scores[rows, places], count)
    kept = allow.keeps(rows, items)  # of items that share a SID, some may be blocked
    return top_k_lists(rows[kept], items[kept], values[kept], len(leaves), k)
