"""SIDs among a tokenizer's tokens: which ids they have, how a history is written, what opens and closes a sequence.

Training writes these ids, decoding reads them: both ask here, so that they cannot disagree.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tsrec.errors import ArtifactError, ConfigError
from tsrec.sid.space import SidSpace, is_token


def add_sid_tokens(tokenizer: PreTrainedTokenizerBase, space: SidSpace) -> int:
    """Append all SID tokens to a backbone's tokenizer, and return the id of the first.

    Raises:
        ArtifactError: the tokenizer holds some of them already.
    """
    n_text = len(tokenizer)
    tokenizer.add_tokens(space.tokens(), special_tokens=True)
    if _first_id(tokenizer, space) != n_text or len(tokenizer) != n_text + space.n_tokens:
        raise ArtifactError("the backbone's tokenizer already holds SID tokens; start from the original model")
    return n_text


def without_sid_tokens(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer without the SID tokens at the end of its vocabulary, as the backbone had it.

    Returns `tokenizer` itself where its vocabulary does not end in SID tokens, or where it saves no `tokenizer.json`.
    """
    n_text = len(tokenizer)
    while n_text and is_token(str(tokenizer.convert_ids_to_tokens(n_text - 1))):
        n_text -= 1
    if n_text == len(tokenizer):
        return tokenizer
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        file = Path(folder) / "tokenizer.json"
        if not file.is_file():
            return tokenizer
        written = json.loads(file.read_text(encoding="utf-8"))
        written["added_tokens"] = [token for token in written["added_tokens"] if token["id"] < n_text]
        file.write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def first_sid_id(tokenizer: PreTrainedTokenizerBase, space: SidSpace, place: object) -> int:
    """Token id of SID token 0 in a fine-tuned model's tokenizer; the others follow in flat order.

    Args:
        place: where the tokenizer was read from, for the message.

    Raises:
        ArtifactError: the tokenizer lacks tokens of `space`, or numbers them otherwise.
    """
    first = _first_id(tokenizer, space)
    if first is None:
        raise ArtifactError(f"{place}: the tokenizer lacks the SID tokens of this code book; run finetune again")
    return first


def sid_token_ids(first: int, space: SidSpace, codes: np.ndarray) -> np.ndarray:
    """Token ids (N, L) int64 of SIDs (N, L); `first` is the id of SID token 0."""
    return first + np.array(space.offsets) + codes.astype(np.int64)


@dataclass(frozen=True)
class HistoryTokens:
    """How a history is written as tokens.

    `opening` is the token id that every sequence opens with. `sids` (n_items, L) int64 are the token ids of the items'
    SIDs.
    """

    opening: int
    sids: np.ndarray

    @classmethod
    def from_tokenizer(
        cls, tokenizer: PreTrainedTokenizerBase, space: SidSpace, first: int, codes: np.ndarray
    ) -> "HistoryTokens":
        """The token ids of all items.

        Args:
            tokenizer: holds the SID tokens of `space`.
            space: codes of every level.
            first: token id of SID token 0.
            codes: (n_items, L), the items' SIDs.
        """
        return cls(opening_token(tokenizer), sid_token_ids(first, space, codes))

    @property
    def n_levels(self) -> int:
        """Tokens of a SID."""
        return int(self.sids.shape[1])

    def prompt(self, items: np.ndarray) -> np.ndarray:
        """(T,) int64: the prompt of a history, `items` (H,) oldest first. The model answers with the next item."""
        return np.concatenate([[self.opening], self.sids[items].ravel()]).astype(np.int64)


def opening_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token that opens every sequence: BOS, or EOS where a model has none (Qwen).

    Raises:
        ConfigError: the tokenizer has neither.
    """
    return _first_given(tokenizer.bos_token_id, tokenizer.eos_token_id)


def closing_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the token that closes an answer: EOS, or BOS where a model has none.

    Raises:
        ConfigError: the tokenizer has neither.
    """
    return _first_given(tokenizer.eos_token_id, tokenizer.bos_token_id)


def _first_given(token_id: int | None, fallback: int | None) -> int:
    if token_id is not None:
        return token_id
    if fallback is None:
        raise ConfigError(
            "backbone.model: its tokenizer has neither a BOS nor an EOS token, and a sequence needs one to open with; "
            "choose another model, or set bos_token or eos_token in its tokenizer_config.json"
        )
    return fallback


def _first_id(tokenizer: PreTrainedTokenizerBase, space: SidSpace) -> int | None:
    """Id of SID token 0 where all SID tokens follow it in flat order, else None."""
    ids: Any = tokenizer.convert_tokens_to_ids(space.tokens())  # a list of tokens gives a list of ids
    return int(ids[0]) if ids[0] is not None and ids == list(range(ids[0], ids[0] + space.n_tokens)) else None
