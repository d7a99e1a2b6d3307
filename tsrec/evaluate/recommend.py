"""From a history of items to a ranked list of items: prompt, beams, and the items behind them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tsrec.columns import Columns as C
from tsrec.columns import Split
from tsrec.decode import BeamSearch, Trie
from tsrec.histories import Histories, build_histories
from tsrec.sid import SidSpace
from tsrec.sid_tokens import first_sid_id, opening_token, sid_token_ids
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
    first = first_sid_id(tokenizer, space, folder)
    codes = sids.matrix("item_sids", C.CODES).astype(np.int64)
    item_ids = ingest.frame("items", [C.ITEM])[C.ITEM]
    histories = build_histories(ingest.frame("interactions"), item_ids)
    trained = np.bincount(histories.items[histories.splits == Split.TRAIN.value], minlength=len(item_ids))
    trie = Trie.build(codes, priority=trained)
    recommender = Recommender(
        search=BeamSearch(model, trie, space, first, torch.bfloat16 if where.type == "cuda" else None),
        trie=trie,
        codes=codes,
        item_tokens=sid_token_ids(first, space, codes),
        bos_id=opening_token(tokenizer),
        max_history=max_history,
        n_beams=n_beams,
        exclude_seen=exclude_seen,
    )
    return recommender, histories, item_ids.tolist()
