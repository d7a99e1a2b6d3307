"""The fine-tuned LLM as a member: the prompt, constrained beams, and the items behind them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tsrec.columns import Columns as C
from tsrec.decode.beam import BeamSearch
from tsrec.decode.scoring import score_sids
from tsrec.decode.trie import Trie
from tsrec.decode.writer import ExportedModel
from tsrec.machine.devices import resolve_device, resolve_precision
from tsrec.recommenders.catalogue import Catalogue
from tsrec.recommenders.ranking import Filter, Ranked, empty_lists, top_k_lists
from tsrec.recommenders.stage_settings import BeamSettings
from tsrec.sid.space import SidSpace
from tsrec.sid.tokens import HistoryTokens, first_sid_id, opening_token, sid_token_ids
from tsrec.store import Artifact

_SEARCHES = 8  # over some of the items that are kept
_WEIGHTS = (".safetensors", ".bin")


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
    """A trained model over a catalogue; `codes` (N, L) are the items' SIDs, `tokens` how it writes them.

    `is_trained` (N,) bool: the items that it was trained on; None: those with train events in the catalogue.
    """

    model: PreTrainedModel
    space: SidSpace
    codes: np.ndarray
    catalogue: Catalogue
    first_sid_id: int
    tokens: HistoryTokens
    config: BeamSettings
    is_trained: np.ndarray | None = None
    _searches: dict[bytes, _ItemSearch] = field(default_factory=dict, init=False)

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
        found = item_search.search.search_in_batches(prompts, self.config.beams, self.config.batch_tokens, blocked)
        ranked.items[with_events], ranked.scores[with_events] = _items_of_leaves(
            item_search, found.leaves, found.scores, k, allow
        )
        return ranked

    def score(self, pasts: Sequence[np.ndarray], candidates: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each history the log-probabilities (C,) float32 of its C `candidates` (item numbers), as `rank` has them.

        -inf for an empty history: the model was trained on none.
        """
        return [of_tokens.sum(axis=1) for of_tokens in self._score_tokens(pasts, candidates)]

    def score_by_beginnings(self, pasts: Sequence[np.ndarray], candidates: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same, but cold items are scored by the beginning of their SID.

        The model was never shown the SID of an item that it was not trained on, and gives it next to nothing. So of its
        tokens those count that begin the SID of a trained item too. All items that begin so share this probability.
        """
        n_tokens, log_n_shared = self._shared_beginnings
        levels = np.arange(self.space.n_levels)
        return [
            np.where(levels < n_tokens[items][:, None], of_tokens, 0).sum(axis=1) - log_n_shared[items]
            for items, of_tokens in zip(candidates, self._score_tokens(pasts, candidates), strict=True)
        ]

    def _score_tokens(self, pasts: Sequence[np.ndarray], candidates: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each history the log-probabilities (C, L) float32 of the tokens of its C candidates."""
        sids = [self.codes[items if len(past) else items[:0]] for past, items in zip(pasts, candidates, strict=True)]
        prompts = [self.tokens.prompt(past[-self.config.max_history :]) for past in pasts]
        found = [np.full((len(items), self.space.n_levels), -np.inf, dtype=np.float32) for items in candidates]
        for own, scores in zip(found, score_sids(self._writer, prompts, sids, self.config.batch_tokens), strict=True):
            # A model that has diverged scores NaN; as in beams, it then says nothing.
            own[: len(scores)] = np.nan_to_num(scores, nan=-np.inf)
        return found

    @cached_property
    def _shared_beginnings(self) -> tuple[np.ndarray, np.ndarray]:
        """By what `score_by_beginnings` scores each item: (N,) int64 tokens of its SID, and (N,) float32 the logarithm
        of how many items share them; all tokens and 0 for an item that the model was trained on, or whose SID one has.
        """
        n_items, n_levels = self.codes.shape
        is_trained = self.catalogue.train_counts > 0 if self.is_trained is None else self.is_trained
        n_tokens = np.where(is_trained, n_levels, 0)
        log_n_shared = np.where(is_trained, 0.0, np.log(n_items)).astype(np.float32)
        for level in range(1, n_levels + 1):
            _, beginning = np.unique(self.codes[:, :level], axis=0, return_inverse=True)
            rows = np.flatnonzero(~is_trained & (np.bincount(beginning, is_trained) > 0)[beginning])
            n_tokens[rows] = level
            log_n_shared[rows] = np.log(np.bincount(beginning)[beginning[rows]]) if level < n_levels else 0.0
        return n_tokens, log_n_shared

    def _search_over(self, allowed: np.ndarray | None) -> _ItemSearch:
        """The search over all allowed items; the last ones made are kept, for callers that ask block by block, and for
        servers whose shops allow the same items again and again."""
        if allowed is None:
            return self._search_over_all
        allowed_bits = np.packbits(allowed).tobytes()
        search = self._searches.pop(allowed_bits, None) or self._search_for(np.flatnonzero(allowed))
        self._searches[allowed_bits] = search
        if len(self._searches) > _SEARCHES:
            del self._searches[next(iter(self._searches))]
        return search

    @cached_property
    def _search_over_all(self) -> _ItemSearch:
        return self._search_for(np.arange(self.catalogue.n_items))

    def _search_for(self, numbers: np.ndarray) -> _ItemSearch:
        place = np.full(self.catalogue.n_items, -1, dtype=np.int64)
        place[numbers] = np.arange(len(numbers))
        trie = Trie.build(self.codes[numbers], priority=self.catalogue.train_counts[numbers])
        return _ItemSearch(BeamSearch(self._writer, trie), trie, numbers, place)

    @cached_property
    def _writer(self) -> ExportedModel:
        return ExportedModel(self.model, self.space, self.first_sid_id)


def load_llm(
    trained: Artifact,
    sids: Artifact,
    catalogue: Catalogue,
    config: BeamSettings,
    is_trained: np.ndarray | None = None,
) -> Llm:
    """Load the model of an artifact that holds a trained LLM, in the numbers that `config.precision` says.

    `is_trained` is that of `Llm`.

    Raises:
        ArtifactError: the model's tokenizer lacks the SID tokens of `sids`.
    """
    folder, device = trained.file("model"), resolve_device(config.device)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        trust_remote_code=False,
        dtype=resolve_precision(config.precision, device),
        attn_implementation="sdpa",
    )
    space = SidSpace(tuple(sids.json("sid_space")["sizes"]))
    codes = sids.matrix("item_sids", C.CODES).astype(np.int64)
    files = [name for name in trained.manifest.files if name.startswith("model/") and not name.endswith(_WEIGHTS)]
    hashes = tuple((name, trained.manifest.files[name].sha256) for name in sorted(files))
    opening, first = _token_ids(_TokenizerFiles(hashes, space, folder))
    return Llm(
        model=model.to(device).eval(),
        space=space,
        codes=codes,
        catalogue=catalogue,
        first_sid_id=first,
        tokens=HistoryTokens(opening, sid_token_ids(first, space, codes)),
        config=config,
        is_trained=is_trained,
    )


@dataclass(frozen=True)
class _TokenizerFiles:
    """A tokenizer by the `hashes` of its files, which lie in `folder`, and the SIDs that it holds."""

    hashes: tuple[tuple[str, str], ...]
    space: SidSpace
    folder: Path = field(compare=False)


@lru_cache(8)
def _token_ids(files: _TokenizerFiles) -> tuple[int, int]:
    """The ids of the token that opens a sequence, and of SID token 0.

    Kept: a large tokenizer takes a quarter of a second to load, in which nothing else of the process runs, and a server
    that opens the next model has mostly read its tokenizer before.
    """
    tokenizer = AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False)
    return opening_token(tokenizer), first_sid_id(tokenizer, files.space, files.folder)


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
