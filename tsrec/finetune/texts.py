"""Texts that fill templates: what SID tokens mean, and any text cut to a number of tokens. Knows no template."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from tsrec.columns import Columns as C
from tsrec.store import Artifact

MAX_TEXT_TOKENS = 256  # of a title or a meaning; the descriptions that TS-Rec's authors published have at most 145
_AT_ONCE = 1000


class Meaning(NamedTuple):
    """A cluster in words. Where a cluster has only a description, or only keywords, both fields hold it."""

    description: str
    keywords: str


def meanings_of(artifact: Artifact) -> dict[str, Meaning]:
    """Token -> what its cluster means, for all that mean anything; from the table `token_semantics`."""
    # Not through pandas, where a missing description is NaN, which passes for a text.
    rows = artifact.table("token_semantics", [C.TOKEN, C.DESCRIPTION, C.KEYWORDS]).to_pylist()
    found = {}
    for row in rows:
        keywords = ", ".join(row[C.KEYWORDS])
        meaning = Meaning(row[C.DESCRIPTION] or keywords, keywords or row[C.DESCRIPTION] or "")
        if meaning.description:
            found[row[C.TOKEN]] = meaning
    return found


@dataclass(frozen=True)
class Texts:
    """N texts: their `values` after cutting; `n_tokens` (N,) int64 of each; `is_cut` (N,) bool."""

    values: list[str]
    n_tokens: np.ndarray
    is_cut: np.ndarray


def cut_texts(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Texts:
    """Keep the first `max_tokens` tokens of every text, to the character; shorter ones stay as they are."""
    values: list[str] = []
    counts: list[int] = []
    for start in range(0, len(texts), _AT_ONCE):
        for text, ids, starts in _encode(list(texts[start : start + _AT_ONCE]), tokenizer):
            counts.append(len(ids))
            if len(ids) <= max_tokens:
                values.append(text)
            elif starts is None:
                values.append(str(tokenizer.decode(ids[:max_tokens])))
            else:
                values.append(text[: starts[max_tokens]].rstrip())
    n_tokens = np.array(counts, dtype=np.int64)
    return Texts(values, np.minimum(n_tokens, max_tokens), n_tokens > max_tokens)


def _encode(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, list[int], list[int] | None]]:
    """Per text its token ids, and where each token starts; tokenizers written in Python do not know the latter."""
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast, verbose=False)
    if not tokenizer.is_fast:
        return [(text, ids, None) for text, ids in zip(texts, encoded["input_ids"], strict=True)]
    starts = [[start for start, _ in offsets] for offsets in encoded["offset_mapping"]]
    return list(zip(texts, encoded["input_ids"], starts, strict=True))
