"""From a history of items to a ranked list of items: prompt, beams, and the items behind them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.decode import BeamSearch, Trie
from tsrec.errors import ArtifactError
from tsrec.histories import Histories, build_histories
from tsrec.sid import SidSpace
from tsrec.store import Artifact
from tsrec.training import resolve_device


@dataclass(frozen=True)
class Recommender:
    """A trained model over a catalogue. Items are row numbers of `items`; `codes` (N, L) their SIDs."""

    search: BeamSearch
    trie: Trie
    codes: np.ndarray
    item_tokens: np.ndarray
    bos_id: int
    max_history: int
    n_beams: int
    exclude_seen: bool

    def recommend(self, pasts: list[np.ndarray], k: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each history (item indices, oldest first): the K best distinct items, or all there are, and scores.

        Items that share a SID share its score; the more popular comes first, then the lower index.
        """
        prompts = [
            np.concatenate([[self.bos_id], self.item_tokens[past[-self.max_history :]].ravel()]) for past in pasts
        ]
        blocked = pasts if self.exclude_seen else None
        beams = self.search.search(prompts, max(self.n_beams, k), blocked)
        return [
            self._items(leaves, scores, set(past.tolist()) if self.exclude_seen else set(), k)
            for leaves, scores, past in zip(beams.leaves, beams.scores, pasts, strict=True)
        ]

    def _items(self, leaves: np.ndarray, scores: np.ndarray, hidden: set[int], k: int) -> tuple[np.ndarray, np.ndarray]:
        items: list[int] = []
        values: list[float] = []
        for leaf, score in zip(leaves, scores, strict=True):
            if leaf < 0 or len(items) >= k:
                break
            fresh = [int(item) for item in self.trie.items_of(leaf) if int(item) not in hidden]
            items.extend(fresh)
            values.extend([float(score)] * len(fresh))
        return np.array(items[:k], dtype=np.int64), np.array(values[:k], dtype=np.float32)


def load_recommender(
    ingest: Artifact,
    sids: Artifact,
    finetune: Artifact,
    *,
    n_beams: int,
    max_history: int,
    exclude_seen: bool,
    device: str = "auto",
) -> tuple[Recommender, Histories, list[str]]:
    """Load the fine-tuned model: float32 on a CPU, products in bfloat16 on CUDA.

    Args:
        n_beams: beams per user; a longer list widens them.
        max_history: items of history in the prompt, the last ones.
        exclude_seen: never recommend an item of the history, the part outside the prompt included.
        device: auto, cpu or cuda.

    Returns:
        the recommender, all histories, and the item ids by row number.

    Raises:
        ArtifactError: the model's tokenizer lacks the SID tokens of `sids`.
    """
    where = resolve_device(device)
    folder = finetune.file("model")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    model = model.to(where).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    space = SidSpace(tuple(sids.json("sid_space")["sizes"]))
    first = _first_sid_id(tokenizer, space, folder)
    codes = sids.matrix("item_sids", C.CODES).astype(np.int64)
    item_ids = ingest.frame("items", [C.ITEM])[C.ITEM]
    histories = build_histories(ingest.frame("interactions"), item_ids)
    trained = np.bincount(histories.items[histories.splits == Split.TRAIN.value], minlength=len(item_ids))
    trie = Trie.build(codes, priority=trained)
    bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    recommender = Recommender(
        search=BeamSearch(model, trie, space, first, torch.bfloat16 if where.type == "cuda" else None),
        trie=trie,
        codes=codes,
        item_tokens=first + np.array(space.offsets) + codes,
        bos_id=bos,
        max_history=max_history,
        n_beams=n_beams,
        exclude_seen=exclude_seen,
    )
    return recommender, histories, item_ids.tolist()


def _first_sid_id(tokenizer: PreTrainedTokenizerBase, space: SidSpace, folder: Path) -> int:
    """Token id of SID token 0; the others follow in flat order."""
    ids: Any = tokenizer.convert_tokens_to_ids(space.tokens())  # a list of tokens gives a list of ids
    if ids[0] is None or ids != list(range(ids[0], ids[0] + space.n_tokens)):
        raise ArtifactError(f"{folder}: the tokenizer lacks the SID tokens of this code book; run finetune again")
    return int(ids[0])
